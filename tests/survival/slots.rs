//! Clients at work. A slot has one task at a time: it sends, follows, answers, cancels, and never gives up, whatever
//! happens to the server meanwhile. What it is promised and shown goes into the ledger.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use a2a_webcap::client::local::Subscription;
use a2a_webcap::client::{Client, Credentials, Cursor, RetryPolicy, SendCall, TaskEvent, TaskStream};
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{EndReason, Message, SendMessageResponse, StreamResponse, TaskState, fresh_id};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::agent::{Count, counted};
use crate::ledger::Ledger;
use crate::link::{Ear, Heard, LONGEST_WAIT, Link, WHO, resumes};
use crate::random::Rng;

/// A slot over a connection that it shares with others.
pub(crate) struct Slot {
    pub(crate) link: Rc<Link>,
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
    /// Set when no further task is wanted.
    pub(crate) enough: Arc<AtomicBool>,
}

/// What a slot means to do with a task.
struct Plan {
    who: usize,
    context: String,
    message: Message,
    count: Count,
    streams: bool,
    /// Cancel after so many events.
    cancel_after: Option<u64>,
    /// How far to count when asked.
    further: Count,
}

/// How far a task was followed.
#[derive(Default)]
struct Followed {
    id: Option<String>,
    last: u64,
    state: Option<TaskState>,
    /// What a client was told last about the state.
    said: String,
    tried_to_cancel: bool,
    answered: bool,
}

/// Why a subscription is over.
enum Over {
    /// It ended by itself.
    Ended,
    /// It was cut, by whomever.
    Cut,
}

impl Plan {
    fn new(rng: &mut Rng) -> Self {
        let who = usize::try_from(rng.between(0, 3)).expect("few");
        let context = fresh_id().to_string();
        let asks = rng.percent(25);
        let pace = Duration::from_micros(rng.between(0, 60_000));
        let padding = usize::try_from(rng.between(0, 200)).expect("few");
        let count = Count { to: rng.between(1, 30), pace, padding, asks };
        let message = Message::user(count.text()).in_context(context.clone());
        let cancel_after = rng.percent(15).then(|| rng.between(1, 20));
        let further = Count { to: count.to + rng.between(1, 15), asks: false, ..count };
        Self { who, context, message, count, streams: rng.percent(50), cancel_after, further }
    }

    /// The numbers of the finished task.
    fn goal(&self) -> u64 {
        if self.count.asks { self.further.to } else { self.count.to }
    }
}

impl Followed {
    /// The next event of a subscription; what is not the next is entered as wrong.
    fn takes(&mut self, event: &TaskEvent, ledger: &Ledger) {
        ledger.saw(event);
        if matches!(event.content, StreamResponse::Task(_)) {
            return;
        }
        if event.seq != self.last + 1 {
            let task = event.task_id().unwrap_or_default();
            ledger.wrong(format!("{task}: event {} came after event {}", event.seq, self.last));
        }
        self.last = event.seq;
        self.id = event.task_id().map(str::to_owned);
        if let StreamResponse::StatusUpdate(update) = &event.content {
            self.state = Some(update.status.state);
            self.said =
                update.status.message.as_ref().map(|said| said.text().into_owned()).unwrap_or_default();
        }
    }

    fn is_over(&self) -> bool {
        self.state.is_some_and(TaskState::is_terminal)
    }

    fn id(&self) -> &str {
        self.id.as_deref().expect("an event or an answer has named it")
    }
}

impl Slot {
    /// One task after the other.
    pub(crate) async fn run(mut self) {
        while !self.enough.load(Ordering::Acquire) {
            let plan = Plan::new(&mut self.rng);
            let mut followed = Followed::default();
            self.send(&plan, &mut followed).await;
            while !followed.is_over() {
                self.follow(&plan, &mut followed).await;
            }
            self.look_at(&plan, &followed).await;
        }
    }

    /// Sends until there is an answer: the same message each time.
    async fn send(&mut self, plan: &Plan, followed: &mut Followed) {
        loop {
            self.ledger.sends(&plan.context, plan.who);
            let open = self.link.open().await;
            let session = open.session(plan.who);
            let call = SendCall::from(plan.message.clone());
            if plan.streams {
                let (ear, mut heard) = Ear::new(4, self.rng.percent(50));
                let started = session.send_streaming(call, ear);
                let subscription = started.subscription;
                // It begins with the send, whichever of the repeated sends this is.
                followed.last = 0;
                self.listen(plan, &subscription, &mut heard, followed).await;
                if followed.id.is_some() {
                    return;
                }
                match subscription.ready().await {
                    // Answered, and cut before the first event: only a repeat says which task it is.
                    Ok(()) => self.ledger.acked(&plan.context, None),
                    Err(fault) => self.bears("a send", &fault).await,
                }
            } else {
                match timeout(LONGEST_WAIT, session.send(call.return_immediately())).await {
                    Ok(Ok(SendMessageResponse::Task(task))) => {
                        self.ledger.acked(&plan.context, Some(&task.id));
                        followed.id = Some(task.id.to_string());
                        return;
                    }
                    Ok(Ok(other)) => self.ledger.wrong(format!("a send was answered with {other:?}")),
                    Ok(Err(fault)) => self.bears("a send", &fault).await,
                    Err(_) => self.ledger.wrong("a send was not answered".to_owned()),
                }
            }
        }
    }

    /// One subscription, from where the last one ended.
    async fn follow(&mut self, plan: &Plan, followed: &mut Followed) {
        let open = self.link.open().await;
        let (ear, mut heard) = Ear::new(4, self.rng.percent(50));
        let task = open.session(plan.who).task(followed.id());
        self.ledger.resumes();
        let subscription = task.subscribe(Cursor::After(followed.last), ear);
        if let Over::Cut = self.listen(plan, &subscription, &mut heard, followed).await
            && let Err(fault) = subscription.ready().await
        {
            self.bears("a subscription", &fault).await;
        }
    }

    /// Takes what a subscription brings, and does meanwhile what is planned.
    async fn listen(
        &mut self,
        plan: &Plan,
        subscription: &Subscription,
        heard: &mut mpsc::Receiver<Heard>,
        followed: &mut Followed,
    ) -> Over {
        let mut is_acked = false;
        loop {
            let Ok(next) = timeout(LONGEST_WAIT, heard.recv()).await else {
                let (last, state) = (followed.last, followed.state);
                self.ledger.wrong(format!("{:?}: nothing came after event {last}, {state:?}", followed.id));
                return Over::Cut;
            };
            match next {
                Some(Heard::Event(event)) => followed.takes(&event, &self.ledger),
                Some(Heard::End(end)) => {
                    let is_right = matches!(
                        end.reason,
                        EndReason::Completed | EndReason::Interrupted | EndReason::Detached
                    );
                    if !is_right || end.last_seq != followed.last {
                        self.ledger.wrong(format!("a stream ended after event {}: {end:?}", followed.last));
                    }
                    return if followed.is_over() { Over::Ended } else { Over::Cut };
                }
                None => return Over::Cut,
            }
            if !is_acked && subscription.ready().await.is_ok() {
                is_acked = true;
                self.ledger.acked(&plan.context, followed.id.as_deref());
            }
            if !followed.is_over() && self.deeds(plan, followed).await {
                return Over::Cut;
            }
        }
    }

    /// What else a client does while it listens. Returns whether it stops listening.
    async fn deeds(&mut self, plan: &Plan, followed: &mut Followed) -> bool {
        let is_asked = followed.state.is_some_and(TaskState::is_interrupted);
        if is_asked && !followed.answered {
            followed.answered = self.answer(plan, followed).await;
        } else if plan.cancel_after.is_some_and(|after| followed.last >= after) && !followed.tried_to_cancel {
            followed.tried_to_cancel = true;
            let open = self.link.open().await;
            match timeout(LONGEST_WAIT, open.session(plan.who).task(followed.id()).cancel(None)).await {
                Ok(Ok(_)) => self.ledger.canceled(followed.id()),
                Ok(Err(fault)) if fault.kind() == FaultKind::TaskNotCancelable => {}
                Ok(Err(fault)) => self.bears("a cancel", &fault).await,
                Err(_) => self.ledger.wrong("a cancel was not answered".to_owned()),
            }
        }
        self.rng.percent(2)
    }

    /// Answers what the agent asks, until that is answered. Returns whether the task goes on with it.
    async fn answer(&mut self, plan: &Plan, followed: &Followed) -> bool {
        let task = followed.id();
        let message = Message::user(plan.further.text()).in_context(plan.context.clone()).in_task(task);
        loop {
            let open = self.link.open().await;
            let call = SendCall::from(message.clone()).return_immediately();
            match timeout(LONGEST_WAIT, open.session(plan.who).send(call)).await {
                Ok(Ok(SendMessageResponse::Task(answered))) if *answered.id == *task => {
                    self.ledger.follow_up_acked(task, &message.message_id);
                    return true;
                }
                Ok(Ok(other)) => self.ledger.wrong(format!("{task}: an answer has come to {other:?}")),
                // A cancel whose answer was lost has been done.
                Ok(Err(fault))
                    if followed.tried_to_cancel && fault.kind() == FaultKind::UnsupportedOperation =>
                {
                    return true;
                }
                Ok(Err(fault)) => self.bears("an answer", &fault).await,
                Err(_) => self.ledger.wrong("an answer was not answered".to_owned()),
            }
        }
    }

    /// A finished task as the server tells it.
    async fn look_at(&mut self, plan: &Plan, followed: &Followed) {
        let task = loop {
            let open = self.link.open().await;
            match timeout(LONGEST_WAIT, open.session(plan.who).task(followed.id()).get(None)).await {
                Ok(Ok(task)) => break task,
                Ok(Err(fault)) => self.bears("a get", &fault).await,
                Err(_) => self.ledger.wrong("a get was not answered".to_owned()),
            }
        };
        let numbers = counted(&task);
        let whole: Vec<u64> = (1..=numbers.len() as u64).collect();
        let goal = numbers.len() as u64 == plan.goal();
        let is_right = match task.state() {
            TaskState::Completed => goal,
            TaskState::Canceled => followed.tried_to_cancel,
            TaskState::Failed => !resumes(plan.who) && followed.said.contains("restarted"),
            _ => false,
        };
        if Some(task.state()) != followed.state || numbers != whole || !is_right {
            let (id, state, said) = (&task.id, task.state(), &followed.said);
            let goal = plan.goal();
            self.ledger.wrong(format!("{id} is {state} ({said:?}) with the numbers {numbers:?} of {goal}"));
        }
    }

    /// A lost line is nothing; anything else is wrong.
    async fn bears(&self, what: &str, fault: &Fault) {
        if fault.kind() != FaultKind::Disconnected {
            self.ledger.wrong(format!("{what} was refused: {fault}"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A slot that uses the client library as most programs do, and notices a restart only by the wait.
pub(crate) struct UserSlot {
    pub(crate) client: Client,
    pub(crate) who: usize,
    pub(crate) ledger: Ledger,
    pub(crate) rng: Rng,
    pub(crate) enough: Arc<AtomicBool>,
}

impl UserSlot {
    /// A client that comes back soon, and never gives up.
    pub(crate) async fn client(url: String, who: usize) -> Client {
        let (key, tenant) = WHO[who];
        let mut retry = RetryPolicy::default().first_wait(Duration::from_millis(10)).tries(u32::MAX);
        retry.longest_wait = Duration::from_millis(100);
        loop {
            let builder = Client::builder(&*url).credentials(Credentials::api_key(key));
            // The first connection is tried once; the server may just be dead.
            match builder.tenant(tenant).retry(retry.clone()).connect().await {
                Ok(client) => return client,
                Err(fault) if fault.kind() == FaultKind::Disconnected => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(fault) => panic!("a client cannot connect: {fault}"),
            }
        }
    }

    /// One task after the other.
    pub(crate) async fn run(mut self) {
        while !self.enough.load(Ordering::Acquire) {
            let plan = Plan { who: self.who, ..Plan::new(&mut self.rng) };
            let mut followed = Followed::default();
            self.ledger.sends(&plan.context, plan.who);
            self.read(self.client.stream(plan.message.clone()), &plan, &mut followed).await;
            if followed.state.is_some_and(TaskState::is_interrupted) {
                let answer = Message::user(plan.further.text()).in_context(plan.context.clone());
                let answer = answer.in_task(followed.id());
                self.read(self.client.stream(answer), &plan, &mut followed).await;
            }
            let failed = !resumes(plan.who) && followed.said.contains("restarted");
            match followed.state {
                Some(TaskState::Completed) => {}
                Some(TaskState::Failed) if failed => {}
                state => self.ledger.wrong(format!("a client's task is {state:?}: {}", followed.said)),
            }
        }
    }

    async fn read(&mut self, mut stream: TaskStream, plan: &Plan, followed: &mut Followed) {
        loop {
            match timeout(LONGEST_WAIT, stream.next()).await {
                Ok(Some(Ok(event))) => {
                    followed.takes(&event, &self.ledger);
                    self.ledger.acked(&plan.context, event.task_id());
                }
                Ok(Some(Err(fault))) => self.ledger.wrong(format!("a client's stream failed: {fault}")),
                Ok(None) => return,
                Err(_) => {
                    let last = followed.last;
                    return self.ledger.wrong(format!("a client's stream stands still after event {last}"));
                }
            }
        }
    }
}
