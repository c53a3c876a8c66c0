//! One connection's worth of RPC messages from a seed: mostly what an honest peer could say, with lies
//! strewn in. The script learns from what the server says, so that it gets far.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use a2a_webcap::wire::capnp::capability_capnp::a2a_service;
use capnp_rpc::rpc_capnp::{cap_descriptor, disembargo, message, message_target, resolve, return_};

use crate::fuzz_words::{Cap, Dice, GRANT, TASK, Target, write_params, write_payload, write_results_to};
use crate::hostile_peer::{Ended, OPERATIONS, Peer, Rpc, SERVICE, SESSION};
use crate::world::BOB;

/// What the script knows of the connection.
pub(crate) struct Script {
    dice: Dice,
    peer: Peer,
    /// How often, of a hundred times, it lies.
    pub(crate) lies: usize,
    next_question: u32,
    next_export: u32,
    /// Our calls that are not finished.
    questions: Vec<u32>,
    /// What the answers brought, as long as they are not finished.
    brought: HashMap<u32, Vec<u32>>,
    /// Calls that were finished before their answer came, and will release what it brings.
    forsworn: HashSet<u32>,
    /// Objects of the server, with the references that we hold.
    imports: Vec<(u32, u32)>,
    /// Our own objects that the server has heard of.
    exports: Vec<u32>,
    /// Our own promises, unresolved.
    promises: Vec<u32>,
    /// Those that are resolved.
    resolved: Vec<u32>,
    /// Which of our calls carried which.
    carried: HashMap<u32, u32>,
    /// Calls of the server that we have not answered.
    calls: Vec<u32>,
    /// Embargoes of the server that we have not lifted.
    embargoes: Vec<(u32, u32)>,
    /// What was said, for replays.
    pub(crate) said: Vec<String>,
}

impl Script {
    pub(crate) fn new(seed: u64, peer: Peer) -> Self {
        let mut dice = Dice::new(seed);
        let lies = [0, 0, 0, 0, 1, 1, 3, 10, 30][dice.under(9)];
        Self {
            dice,
            peer,
            lies,
            next_question: 0,
            next_export: 0,
            questions: Vec::new(),
            brought: HashMap::new(),
            forsworn: HashSet::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            promises: Vec::new(),
            resolved: Vec::new(),
            carried: HashMap::new(),
            calls: Vec::new(),
            embargoes: Vec::new(),
            said: Vec::new(),
        }
    }

    /// Plays to the end of the connection, ours or the server's.
    pub(crate) async fn play(&mut self) -> Option<Ended> {
        self.bootstrap().await;
        if self.dice.percent(90) {
            self.authenticate().await;
        }
        for _ in 0..10 + self.dice.under(70) {
            self.step().await;
            if self.dice.percent(25)
                && let Some(ended) = self.listen().await
            {
                return Some(ended);
            }
        }
        self.listen().await
    }

    async fn step(&mut self) {
        match self.dice.under(100) {
            0..2 => self.bootstrap().await,
            2..42 => self.call().await,
            42..54 => self.finish().await,
            54..62 => self.release().await,
            62..76 => self.answer().await,
            76..85 => self.resolve().await,
            85..93 => self.disembargo().await,
            93..96 => self.unimplemented().await,
            96..99 if self.lie() => self.odd().await,
            99 if self.lie() => self.say("abort", |message| message.init_abort().set_reason("bye")).await,
            _ => self.call().await,
        }
    }

    fn lie(&mut self) -> bool {
        self.dice.percent(self.lies)
    }

    async fn say(&mut self, what: impl Into<String>, build: impl FnOnce(message::Builder<'_>)) {
        self.said.push(what.into());
        self.peer.send(build).await;
    }

    /// Takes what has come, until nothing comes for a moment.
    async fn listen(&mut self) -> Option<Ended> {
        let mut patience = Duration::from_millis(2);
        loop {
            match tokio::time::timeout(patience, self.peer.receive()).await {
                Ok(Ok(message)) => self.learn(&message),
                Ok(Err(ended)) => return Some(ended),
                Err(_) => return None,
            }
            patience = Duration::from_micros(300);
        }
    }

    fn learn(&mut self, message: &Rpc) {
        match message.root().which() {
            Ok(message::Return(Ok(ret))) => {
                let id = ret.get_answer_id();
                if let Ok(return_::Results(Ok(results))) = ret.which()
                    && !self.forsworn.remove(&id)
                {
                    let brought = self.import_all(results.get_cap_table());
                    if self.questions.contains(&id) {
                        self.brought.insert(id, brought);
                    }
                }
            }
            Ok(message::Call(Ok(call))) => {
                self.calls.push(call.get_question_id());
                if let Ok(params) = call.get_params() {
                    self.import_all(params.get_cap_table());
                }
            }
            Ok(message::Resolve(Ok(resolve))) => {
                if let Ok(resolve::Cap(Ok(descriptor))) = resolve.which() {
                    self.import(descriptor);
                }
            }
            Ok(message::Disembargo(Ok(disembargo))) => {
                if let Ok(disembargo::context::SenderLoopback(id)) = disembargo.get_context().which()
                    && let Ok(Ok(message_target::ImportedCap(export))) =
                        disembargo.get_target().map(message_target::Reader::which)
                {
                    self.embargoes.push((id, export));
                }
            }
            Ok(message::Release(Ok(release))) => self.exports.retain(|id| *id != release.get_id()),
            _ => {}
        }
    }

    fn import_all(
        &mut self,
        table: capnp::Result<capnp::struct_list::Reader<'_, cap_descriptor::Owned>>,
    ) -> Vec<u32> {
        table.into_iter().flatten().filter_map(|descriptor| self.import(descriptor)).collect()
    }

    fn import(&mut self, descriptor: cap_descriptor::Reader<'_>) -> Option<u32> {
        let (Ok(cap_descriptor::SenderHosted(id)) | Ok(cap_descriptor::SenderPromise(id))) =
            descriptor.which()
        else {
            return None;
        };
        match self.imports.iter_mut().find(|(held, _)| *held == id) {
            Some((_, references)) => *references += 1,
            None => self.imports.push((id, 1)),
        }
        Some(id)
    }

    fn give_back(&mut self, id: u32, count: u32) {
        if let Some((_, references)) = self.imports.iter_mut().find(|(held, _)| *held == id) {
            *references = references.saturating_sub(count);
        }
        self.imports.retain(|(_, references)| *references > 0);
    }
}

/// The messages.
impl Script {
    fn new_question(&mut self) -> u32 {
        if self.lie() {
            return self.dice.id();
        }
        self.next_question += 1;
        self.questions.push(self.next_question - 1);
        self.next_question - 1
    }

    async fn bootstrap(&mut self) {
        let id = self.new_question();
        self.say(format!("bootstrap {id}"), |message| message.init_bootstrap().set_question_id(id)).await;
    }

    async fn authenticate(&mut self) {
        let id = self.new_question();
        self.say(format!("authenticate {id}"), |message| {
            let mut call = message.init_call();
            call.set_question_id(id);
            call.set_interface_id(SERVICE);
            call.set_method_id(2);
            call.reborrow().init_target().init_promised_answer().set_question_id(0);
            let params = call.init_params().init_content();
            let params = params.init_as::<a2a_service::authenticate_params::Builder<'_>>();
            params.init_credentials().set_api_key(BOB);
        })
        .await;
    }

    async fn call(&mut self) {
        let mut target = self.target();
        // What is asked of the session is asked of the answer to `authenticate`.
        let method = match self.dice.under(12) {
            0 => (SERVICE, self.small()),
            1..=6 => (OPERATIONS, [0, 1, 1, 1, 2, 3, 4, 5, 5, 10][self.dice.under(10)]),
            7 => (SESSION, self.small()),
            8..=9 => (TASK, self.small()),
            10 => (GRANT, self.small()),
            _ => (self.dice.next(), self.small()),
        };
        if (method.0 == OPERATIONS || method.0 == SESSION) && self.dice.percent(85) {
            target = Target::Answer(1, vec![0]);
        }
        let caps: Vec<Cap> = (0..1 + self.dice.under(2)).map(|_| self.cap()).collect();
        let results_to = match self.dice.under(100) {
            0..4 => 1,
            _ if self.lie() => 2,
            _ => 0,
        };
        let id = self.new_question();
        let promises = caps.iter().filter_map(|cap| match cap {
            Cap::MyPromise(promise) => Some((*promise, id)),
            _ => None,
        });
        self.carried.extend(promises);
        let mut dice = self.dice.clone();
        self.dice.next();
        let what =
            format!("call {id} {target:?} {:x}.{} {caps:?} results to {results_to}", method.0, method.1);
        self.say(what, |message| {
            let mut call = message.init_call();
            call.set_question_id(id);
            call.set_interface_id(method.0);
            call.set_method_id(method.1);
            call.set_no_promise_pipelining(dice.percent(3));
            call.set_only_promise_pipeline(dice.percent(3));
            target.write(call.reborrow().init_target());
            write_results_to(call.reborrow().get_send_results_to(), results_to);
            write_payload(call.init_params(), &caps, |content| write_params(content, method, &mut dice));
        })
        .await;
    }

    fn small(&mut self) -> u16 {
        u16::try_from(self.dice.under(8)).expect("small")
    }

    async fn finish(&mut self) {
        let release = self.dice.percent(50);
        let id = if self.lie() {
            self.dice.id()
        } else {
            // The first two are what everything is asked of.
            if self.questions.len() < 3 {
                return;
            }
            let index = 2 + self.dice.under(self.questions.len() - 2);
            let id = self.questions.swap_remove(index);
            match self.brought.remove(&id) {
                Some(brought) if release => brought.into_iter().for_each(|id| self.give_back(id, 1)),
                Some(_) => {}
                None if release => drop(self.forsworn.insert(id)),
                None => {}
            }
            id
        };
        self.say(format!("finish {id} {release}"), |message| {
            let mut finish = message.init_finish();
            finish.set_question_id(id);
            finish.set_release_result_caps(release);
        })
        .await;
    }

    async fn release(&mut self) {
        let (id, count) = if self.lie() {
            (self.dice.id(), self.dice.id())
        } else {
            // What an open answer brought goes with its finish.
            let lent = |id: u32| self.brought.values().flatten().filter(|lent| **lent == id).count();
            let free = self.imports.iter().filter_map(|(id, references)| {
                let free = (*references as usize).saturating_sub(lent(*id));
                (free > 0).then_some((*id, free))
            });
            let free: Vec<(u32, usize)> = free.collect();
            let Some((id, free)) = self.dice.pick(&free).copied() else { return };
            let count = 1 + u32::try_from(self.dice.under(free)).expect("fewer");
            self.give_back(id, count);
            (id, count)
        };
        self.say(format!("release {id} × {count}"), |message| {
            let mut release = message.init_release();
            release.set_id(id);
            release.set_reference_count(count);
        })
        .await;
    }

    async fn answer(&mut self) {
        let id = if self.lie() {
            self.dice.id()
        } else {
            let index = self.dice.under(self.calls.len());
            if index >= self.calls.len() {
                return;
            }
            self.calls.swap_remove(index)
        };
        let kind = if self.lie() { self.dice.under(7) } else { self.dice.under(2) };
        let caps: Vec<Cap> = (0..self.dice.under(2)).map(|_| self.cap()).collect();
        let other = self.dice.pick(&self.questions).copied().unwrap_or(0);
        let (releases, needs_none) = (self.dice.percent(30), self.dice.percent(20));
        let what = format!("return {id} kind {kind} {caps:?} {other} {releases} {needs_none}");
        self.say(what, |message| {
            let mut ret = message.init_return();
            ret.set_answer_id(id);
            ret.set_release_param_caps(releases);
            ret.set_no_finish_needed(needs_none);
            match kind {
                0 => write_payload(ret.init_results(), &caps, |_| {}),
                1 => ret.init_exception().set_reason("no"),
                2 => ret.set_canceled(()),
                3 => ret.set_results_sent_elsewhere(()),
                4 => ret.set_take_from_other_question(other),
                5 => drop(ret.init_accept_from_third_party()),
                _ => {}
            }
        })
        .await;
    }

    async fn resolve(&mut self) {
        let id = if self.lie() {
            self.stale()
        } else {
            let index = self.dice.under(self.promises.len());
            if index >= self.promises.len() {
                return;
            }
            let id = self.promises.swap_remove(index);
            self.resolved.push(id);
            id
        };
        let cap = match self.carried.remove(&id) {
            // In a circle: the call that carried it answers it.
            Some(question) if self.lie() => Cap::YourAnswer(question, self.path()),
            _ if self.lie() => Cap::MyPromise(id),
            _ if self.lie() => self.cap(),
            _ => self.mine(),
        };
        let broken = self.dice.percent(20) || matches!(cap, Cap::None) && !self.lie();
        self.say(format!("resolve {id} {cap:?} broken {broken}"), |message| {
            let mut resolve = message.init_resolve();
            resolve.set_promise_id(id);
            if broken {
                resolve.init_exception().set_reason("broken");
            } else {
                cap.write(resolve.init_cap());
            }
        })
        .await;
    }

    async fn disembargo(&mut self) {
        let lie = self.lie();
        if !lie && let Some((id, export)) = self.embargoes.pop() {
            return self
                .say(format!("disembargo {id} lifted"), |message| {
                    let mut disembargo = message.init_disembargo();
                    // The sender's loopback comes back at the object that the promise became.
                    disembargo.reborrow().init_target().set_imported_cap(export);
                    disembargo.init_context().set_receiver_loopback(id);
                })
                .await;
        }
        if !lie {
            return;
        }
        let (target, id, kind) = (self.target(), self.dice.id(), self.dice.under(8));
        self.say(format!("disembargo {id} {target:?} kind {kind}"), |message| {
            let mut disembargo = message.init_disembargo();
            target.write(disembargo.reborrow().init_target());
            let mut context = disembargo.init_context();
            match kind {
                0 => context.set_receiver_loopback(id),
                1 => context.set_accept(()),
                2 => context.set_provide(id),
                _ => context.set_sender_loopback(id),
            }
        })
        .await;
    }

    async fn unimplemented(&mut self) {
        if !self.lie() {
            return;
        }
        let (kind, id, cap) = (self.dice.under(6), self.dice.id(), self.cap());
        self.say(format!("unimplemented {kind} {id} {cap:?}"), |message| {
            let original = message.init_unimplemented();
            match kind {
                0 => original.init_call().set_question_id(id),
                1 => original.init_return().set_answer_id(id),
                2 => original.init_release().set_id(id),
                3 => original.init_disembargo().init_context().set_sender_loopback(id),
                _ => {
                    let mut resolve = original.init_resolve();
                    resolve.set_promise_id(id);
                    cap.write(resolve.init_cap());
                }
            }
        })
        .await;
    }

    /// Kinds of messages that nobody speaks.
    async fn odd(&mut self) {
        let (kind, id) = (self.dice.under(5), self.dice.id());
        self.say(format!("odd {kind} {id}"), |message| match kind {
            0 => message.init_provide().set_question_id(id),
            1 => message.init_accept().set_question_id(id),
            2 => message.init_join().set_question_id(id),
            3 => drop(message.init_obsolete_save()),
            _ => drop(message.init_obsolete_delete()),
        })
        .await;
    }

    fn target(&mut self) -> Target {
        if self.lie() {
            let id = self.dice.id();
            return if self.dice.percent(50) { Target::Export(id) } else { Target::Answer(id, self.path()) };
        }
        match self.dice.pick(&self.imports) {
            Some((id, _)) if self.dice.percent(50) => Target::Export(*id),
            _ => {
                let id = self.dice.pick(&self.questions).copied().unwrap_or(0);
                Target::Answer(id, self.path())
            }
        }
    }

    fn path(&mut self) -> Vec<u16> {
        let steps = if self.lie() { self.dice.under(70) } else { 1 };
        (0..steps).map(|_| u16::try_from(self.dice.under(4)).expect("small")).collect()
    }

    fn cap(&mut self) -> Cap {
        if self.lie() {
            let id = self.stale();
            return match self.dice.under(6) {
                0 => Cap::None,
                1 => Cap::Mine(id),
                2 => Cap::MyPromise(id),
                3 => Cap::Yours(id),
                4 => Cap::YourAnswer(id, self.path()),
                _ => Cap::ThirdParty(id),
            };
        }
        match self.dice.under(10) {
            0..=2 => {
                let old = self.dice.pick(&self.exports).copied();
                if let Some(id) = old {
                    return Cap::Mine(id);
                }
                self.mine()
            }
            3..=4 => self.mine(),
            5..=6 => {
                self.next_export += 1;
                self.promises.push(self.next_export - 1);
                Cap::MyPromise(self.next_export - 1)
            }
            7 => match self.dice.pick(&self.imports) {
                Some((id, _)) => Cap::Yours(*id),
                None => Cap::None,
            },
            8 => {
                let id = self.dice.pick(&self.questions).copied().unwrap_or(0);
                Cap::YourAnswer(id, self.path())
            }
            _ => Cap::None,
        }
    }

    /// An id of ours that says something else by now, or any.
    fn stale(&mut self) -> u32 {
        let from = match self.dice.under(4) {
            0 => &self.resolved,
            1 => &self.promises,
            2 => &self.exports,
            _ => return self.dice.id(),
        };
        match self.dice.pick(from).copied() {
            Some(id) => id,
            None => self.dice.id(),
        }
    }

    fn mine(&mut self) -> Cap {
        self.next_export += 1;
        self.exports.push(self.next_export - 1);
        Cap::Mine(self.next_export - 1)
    }
}
