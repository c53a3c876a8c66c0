//! What a fuzzed RPC message is made of: numbers from a seed, targets, capabilities and parameters.

use a2a_webcap::model::{GetTaskRequest, SendMessageRequest, SubscribeToTaskRequest};
use a2a_webcap::wire::capnp::Encode as _;
use a2a_webcap::wire::capnp::capability_capnp::{a2a_service, grant, operations, session, task_handle};
use capnp::any_pointer;
use capnp::traits::{HasTypeId, ImbueMut as _};
use capnp_rpc::rpc_capnp::{call, cap_descriptor, message_target, payload, promised_answer};

use crate::hostile_peer::{OPERATIONS, SERVICE, SESSION, some_cap};
use crate::world::BOB;

/// The task handle's interface.
pub(crate) const TASK: u64 = <task_handle::Client as HasTypeId>::TYPE_ID;
/// The grant's interface.
pub(crate) const GRANT: u64 = <grant::Client as HasTypeId>::TYPE_ID;

/// Numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Mixed once, or the numbers of one seed would be those of the seed before, one step on.
        Self(Self(seed).next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Less than `below`.
    pub(crate) fn under(&mut self, below: usize) -> usize {
        usize::try_from(self.next() % below.max(1) as u64).expect("it was one")
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.under(100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.under(from.len()))
    }

    /// A small number mostly, now and then any.
    pub(crate) fn id(&mut self) -> u32 {
        match self.under(20) {
            0 => u32::try_from(self.next() & 0xffff_ffff).expect("32 bits"),
            1 => u32::MAX,
            _ => u32::try_from(self.under(12)).expect("small"),
        }
    }
}

/// On what a call is made.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Export(u32),
    Answer(u32, Vec<u16>),
}

/// A capability of any kind.
#[derive(Clone, Debug)]
pub(crate) enum Cap {
    None,
    Mine(u32),
    MyPromise(u32),
    Yours(u32),
    YourAnswer(u32, Vec<u16>),
    ThirdParty(u32),
}

impl Target {
    pub(crate) fn write(&self, mut target: message_target::Builder<'_>) {
        match self {
            Self::Export(id) => target.set_imported_cap(*id),
            Self::Answer(id, path) => write_answer(target.init_promised_answer(), *id, path),
        }
    }
}

impl Cap {
    pub(crate) fn write(&self, mut descriptor: cap_descriptor::Builder<'_>) {
        match self {
            Self::None => descriptor.set_none(()),
            Self::Mine(id) => descriptor.set_sender_hosted(*id),
            Self::MyPromise(id) => descriptor.set_sender_promise(*id),
            Self::Yours(id) => descriptor.set_receiver_hosted(*id),
            Self::YourAnswer(id, path) => write_answer(descriptor.init_receiver_answer(), *id, path),
            Self::ThirdParty(id) => descriptor.init_third_party_hosted().set_vine_id(*id),
        }
    }
}

pub(crate) fn write_answer(mut answer: promised_answer::Builder<'_>, id: u32, path: &[u16]) {
    answer.set_question_id(id);
    let mut steps = answer.init_transform(u32::try_from(path.len()).expect("few"));
    for (index, step) in (0..).zip(path) {
        let mut operation = steps.reborrow().get(index);
        match step {
            3 => operation.set_noop(()),
            field => operation.set_get_pointer_field(*field),
        }
    }
}

pub(crate) fn write_results_to(mut to: call::send_results_to::Builder<'_>, kind: usize) {
    match kind {
        0 => to.set_caller(()),
        1 => to.set_yourself(()),
        _ => drop(to.init_third_party()),
    }
}

pub(crate) fn write_payload(
    mut payload: payload::Builder<'_>,
    caps: &[Cap],
    content: impl FnOnce(any_pointer::Builder<'_>),
) {
    let mut table = payload.reborrow().init_cap_table(u32::try_from(caps.len()).expect("few"));
    for (index, cap) in (0..).zip(caps) {
        cap.write(table.reborrow().get(index));
    }
    let mut hooks = Vec::new();
    let mut pointer = payload.reborrow().get_content();
    pointer.imbue_mut(&mut hooks);
    content(pointer);
}

pub(crate) fn write_params(
    content: any_pointer::Builder<'_>,
    (interface, method): (u64, u16),
    dice: &mut Dice,
) {
    let texts = ["stream 3 1ms", "stream 3 20ms", "message hi", "reject", "fail", "burst 40", "hello"];
    let request = SendMessageRequest::text(*dice.pick(&texts).expect("some"));
    if dice.percent(6) {
        // Something else than what is expected.
        let data = content.initn_as::<capnp::data::Builder<'_>>(64);
        data.fill(u8::try_from(dice.under(256)).expect("a byte"));
        return;
    }
    match (interface, method) {
        (OPERATIONS, 0) => {
            let params = content.init_as::<operations::send_message_params::Builder<'_>>();
            request.encode(params.init_request());
        }
        (OPERATIONS, 1) => {
            let mut params = content.init_as::<operations::send_streaming_message_params::Builder<'_>>();
            request.encode(params.reborrow().init_request());
            params.reborrow().init_features().set_on_task(dice.percent(50));
            params.reborrow().get_features().expect("just made").set_on_batch(dice.percent(50));
            params.reborrow().init_options().set_cancel_on_drop(dice.percent(30));
            params.set_observer(some_cap());
        }
        (OPERATIONS, 2) => {
            let params = content.init_as::<operations::get_task_params::Builder<'_>>();
            GetTaskRequest::new("nothing").encode(params.init_request());
        }
        (OPERATIONS, 5) => {
            let mut params = content.init_as::<operations::subscribe_to_task_params::Builder<'_>>();
            SubscribeToTaskRequest::new("nothing").encode(params.reborrow().init_request());
            params.set_observer(some_cap());
        }
        (SERVICE, 2) => {
            let params = content.init_as::<a2a_service::authenticate_params::Builder<'_>>();
            params.init_credentials().set_api_key(BOB);
        }
        (SESSION, 3) => drop(content.init_as::<session::attenuate_params::Builder<'_>>()),
        (TASK, 1) => {
            let params = content.init_as::<task_handle::send_params::Builder<'_>>();
            request.encode(params.init_request());
        }
        (TASK, 2) => {
            let mut params = content.init_as::<task_handle::send_streaming_params::Builder<'_>>();
            request.encode(params.reborrow().init_request());
            params.set_observer(some_cap());
        }
        (TASK, 4) => {
            let mut params = content.init_as::<task_handle::subscribe_params::Builder<'_>>();
            params.reborrow().init_cursor().set_after(dice.under(4) as u64);
            params.set_observer(some_cap());
        }
        (TASK, 5 | 6) => {
            let mut params = content.init_as::<task_handle::attenuate_params::Builder<'_>>();
            params.set_role(a2a_webcap::wire::capnp::capability_capnp::TaskRole::Owner);
            params.init_policy();
        }
        _ => {}
    }
}
