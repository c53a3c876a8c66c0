//! Several agents on one server: A2A's tenant selects one, and nothing of one is reached through another.

use std::sync::Arc;
use std::time::Duration;

use a2a_webcap::Server;
use a2a_webcap::agents::{Demo, Echo};
use a2a_webcap::auth::{ApiKey, Credentials, KeyEntry, KeyRing};
use a2a_webcap::client::{self, Cursor, GrantPolicy, SessionPolicy, TaskRole};
use a2a_webcap::clock::Clock;
use a2a_webcap::config::{AgentConfig, Config};
use a2a_webcap::fault::{Fault, FaultKind};
use a2a_webcap::model::{
    CancelTaskRequest, GetTaskRequest, ListTasksRequest, Message, SendMessageResponse,
    SubscribeToTaskRequest, Task, TaskState, Timestamp,
};
use a2a_webcap::server::{Builder, StartError};

use crate::cli::Scratch;
use crate::doubles::{Collector, Puppet, Stage};
use crate::origins::{get, status};
use crate::party::{Session, Wire, on_wires};
use crate::world::{ALICE, BOB, World, limits, soon, until};

on_wires! {
    every: [
        a_tenant_selects_the_agent_and_who_names_none_gets_the_default,
        each_agent_has_a_card_of_its_own_which_names_its_tenant,
        a_task_is_found_through_its_own_agent_only,
        the_same_message_id_to_two_agents_is_two_tasks,
        a_key_opens_its_own_agents_and_the_others_are_as_if_they_were_not_there,
        keys_that_change_while_the_server_runs_keep_to_their_agents,
        an_agent_with_as_many_turns_as_it_may_refuses_alone,
        as_41_sends_in_parallel_to_two_agents_all_complete_without_cross_talk,
    ]
    objects: [
        a_session_is_renewed_only_with_a_key_that_opens_its_agent,
        what_is_shared_and_derived_stays_with_its_agent,
    ]
}

/// Opens what the tests say.
const CAROL: &str = "carol's key, long enough, for one of the agents";

/// Carol's key, or another one of hers, for these agents only.
fn carols(key: &str, agents: &[&str]) -> KeyEntry {
    let names = agents.iter().map(|name| (*name).to_owned()).collect();
    KeyEntry { agents: Some(names), ..ApiKey::parse(key).unwrap().entry("carol") }
}

/// `story` is the demo agent and the default; `parrot` echoes.
fn story_and_parrot(builder: Builder) -> Builder {
    builder.tenant("story", Arc::new(Demo)).tenant("parrot", Arc::new(Echo)).default_tenant("story")
}

/// `support`, the default, and `billing`: both do what the test says. Carol may come to `billing`.
async fn puppets(wire: Wire, build: impl FnOnce(Builder) -> Builder) -> (World, Stage, Stage) {
    let (support, support_stage) = Puppet::default().on_stage();
    let (billing, billing_stage) = Puppet::default().on_stage();
    let agents = |builder: Builder| {
        let builder = builder.tenant("support", Arc::new(support)).tenant("billing", Arc::new(billing));
        build(builder.default_tenant("support").key(carols(CAROL, &["billing"])))
    };
    (wire.world(agents).await, support_stage, billing_stage)
}

async fn answer(session: &Session, text: &str) -> Task {
    let sent = soon("an answer", session.send(text)).await.unwrap();
    let SendMessageResponse::Task(task) = sent else { panic!("{sent:?}") };
    task
}

fn said(task: &Task) -> String {
    task.artifacts.iter().map(|artifact| artifact.text_content()).collect()
}

async fn refusal(session: Session) -> Fault {
    let fault = session.ready().await.unwrap_err();
    assert_eq!(session.who_am_i().await.unwrap_err(), fault, "nothing came of it");
    fault
}

async fn a_tenant_selects_the_agent_and_who_names_none_gets_the_default(wire: Wire) {
    let world = wire.world(story_and_parrot).await;
    let connection = world.connection().await;
    for (tenant, expected, is) in
        [("", "You said: hi", "story"), ("story", "You said: hi", "story"), ("parrot", "Echo: hi", "parrot")]
    {
        let session = connection.authenticate_to(tenant, ALICE);
        let said = said(&answer(&session, "hi").await);
        assert!(said.contains(expected), "{tenant:?}: {said}");
        assert_eq!(session.who_am_i().await.unwrap().tenant, is);
    }
}

async fn each_agent_has_a_card_of_its_own_which_names_its_tenant(wire: Wire) {
    let world = wire.world(story_and_parrot).await;
    let connection = world.connection().await;
    let (none, story, parrot) = (
        connection.agent_card("").await.unwrap(),
        connection.agent_card("story").await.unwrap(),
        connection.agent_card("parrot").await.unwrap(),
    );
    assert_eq!(none, story);
    assert_ne!((&story.name, &story.skills), (&parrot.name, &parrot.skills));
    for (card, name) in [(&story, "story"), (&parrot, "parrot")] {
        let tenants: Vec<_> =
            card.supported_interfaces.iter().map(|interface| interface.tenant.as_deref()).collect();
        assert_eq!(tenants, [Some(name), Some(name)]);
    }
    let fault = connection.agent_card("nobody").await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::InvalidParams);
    assert_eq!(fault.message(), "no agent is called \"nobody\" here");
}

async fn a_task_is_found_through_its_own_agent_only(wire: Wire) {
    let (world, mut support, mut billing) = puppets(wire, |builder| builder).await;
    let connection = world.connection().await;
    let at_support = connection.authenticate_to("support", ALICE);
    let at_billing = connection.authenticate_to("billing", ALICE);
    let (one, two) = (Collector::new(), Collector::new());
    let _held = (at_support.send_streaming("a", one), at_billing.send_streaming("b", two));
    let (cue, other) = (support.turn().await, billing.turn().await);
    let id = cue.turn.task_id.to_string();

    let listed = async |session: &Session| {
        let listed = session.list_tasks(&ListTasksRequest::default()).await.unwrap();
        listed.tasks.into_iter().map(|task| task.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&at_support).await, [&*id]);
    assert_eq!(listed(&at_billing).await, [other.turn.task_id.to_string()]);

    let refused = async |id: &str| {
        let mut message = Message::user("into it");
        message.task_id = Some(id.into());
        let subscribe = SubscribeToTaskRequest::new(id);
        let subscribed = at_billing.subscribe_to_task(&subscribe, Cursor::After(0), Collector::new());
        [
            at_billing.get_task(&GetTaskRequest::new(id)).await.unwrap_err(),
            at_billing.cancel_task(&CancelTaskRequest::new(id)).await.unwrap_err(),
            at_billing.send(message).await.unwrap_err(),
            subscribed.ready().await.unwrap_err(),
            at_billing.task(id).ready().await.unwrap_err(),
        ]
    };
    let foreign = refused(&id).await;
    assert_eq!(foreign.clone().map(|fault| fault.kind()), [FaultKind::TaskNotFound; 5]);
    assert_eq!(foreign, refused("no-such-task").await, "as if it were not there");
    let task = at_support.get_task(&GetTaskRequest::new(id.as_str())).await.unwrap();
    assert_eq!(task.state(), TaskState::Submitted);
}

async fn the_same_message_id_to_two_agents_is_two_tasks(wire: Wire) {
    let world = wire.world(story_and_parrot).await;
    let connection = world.connection().await;
    let message = || Message { message_id: "1".into(), ..Message::user("hi") };
    let (story, parrot) =
        (connection.authenticate_to("story", ALICE), connection.authenticate_to("parrot", ALICE));
    let mut ids = Vec::new();
    for session in [&story, &parrot, &story] {
        let sent = soon("an answer", session.send(message())).await.unwrap();
        ids.push(sent.task().expect("a task").id.clone());
    }
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2], "to the same agent it is the same task");
}

async fn a_key_opens_its_own_agents_and_the_others_are_as_if_they_were_not_there(wire: Wire) {
    let (world, _support, mut billing) = puppets(wire, |builder| builder).await;
    let connection = world.connection().await;
    let carol = connection.authenticate_to("billing", CAROL);
    let _held = carol.send_streaming("hi", Collector::new());
    assert_eq!(&*billing.turn().await.turn.subject, "carol");

    let closed = refusal(connection.authenticate_to("support", CAROL)).await;
    assert_eq!(closed.kind(), FaultKind::Forbidden);
    let message =
        "these credentials do not open an agent called \"support\"; as tenant they open: billing".to_owned();
    assert_eq!(closed.message(), message);
    let absent = refusal(connection.authenticate_to("nobody", CAROL)).await;
    assert_eq!((absent.kind(), absent.message()), (closed.kind(), &*message.replace("support", "nobody")));
    assert_eq!(absent.metadata(), closed.metadata());
    let default = refusal(connection.authenticate(CAROL)).await;
    assert_eq!(default.kind(), FaultKind::Forbidden);

    // Whom the server does not know learns nothing, whatever agent is asked for.
    let stranger = "nobody's key, which is long enough to be one";
    let unknown = refusal(connection.authenticate_to("support", stranger)).await;
    assert_eq!(unknown.kind(), FaultKind::Unauthenticated);
    for tenant in ["billing", "nobody", ""] {
        assert_eq!(refusal(connection.authenticate_to(tenant, stranger)).await, unknown, "{tenant}");
    }
}

async fn keys_that_change_while_the_server_runs_keep_to_their_agents(wire: Wire) {
    let (world, ..) = puppets(wire, |builder| builder).await;
    let connection = world.connection().await;
    let before = connection.authenticate_to("billing", CAROL);
    before.ready().await.unwrap();
    let ring = KeyRing::new(&[carols(CAROL, &["support"])]).unwrap();
    world.server.service().authenticator().replace_keys(ring);
    assert_eq!(refusal(connection.authenticate_to("billing", CAROL)).await.kind(), FaultKind::Forbidden);
    let after = connection.authenticate_to("support", CAROL);
    assert_eq!(after.who_am_i().await.unwrap().tenant, "support");
    assert_eq!(before.who_am_i().await.unwrap().tenant, "billing", "what was opened goes on");
}

async fn an_agent_with_as_many_turns_as_it_may_refuses_alone(wire: Wire) {
    let (world, mut support, mut billing) = puppets(wire, |builder| builder.turns_of("support", 1)).await;
    let connection = world.connection().await;
    let sessions = [("support", ALICE), ("support", BOB), ("billing", ALICE)];
    let [alice, bob, elsewhere] = sessions.map(|(tenant, key)| connection.authenticate_to(tenant, key));
    let collector = Collector::new();
    let _first = alice.send_streaming("first", collector.clone());
    let cue = support.turn().await;
    let refused = soon("an answer", bob.send("second")).await.unwrap_err();
    assert_eq!(refused.kind(), FaultKind::Overloaded);
    assert_eq!(
        refused.message(),
        "the agent runs as many turns as it may; try again when one of them has ended"
    );
    assert_eq!(refused.metadata()["limit"], "1");
    let _held: Vec<_> = (0..3).map(|_| elsewhere.send_streaming("go", Collector::new())).collect();
    for _ in 0..3 {
        billing.turn().await;
    }
    cue.end();
    collector.end().await;
    until("its turn is over", || world.counts().turns == 3).await;
    let _again = bob.send_streaming("second", Collector::new());
    assert_eq!(&*support.turn().await.turn.subject, "bob");
}

async fn as_41_sends_in_parallel_to_two_agents_all_complete_without_cross_talk(wire: Wire) {
    let world = wire.world(story_and_parrot).await;
    let connection = world.connection().await;
    let agents = [("story", "You said"), ("parrot", "Echo")];
    let sessions = agents.map(|(tenant, says)| (connection.authenticate_to(tenant, ALICE), says));
    let sends = (0..100).flat_map(|number| {
        let sessions = &sessions;
        sessions.iter().map(move |(session, says)| async move {
            let task = answer(session, &format!("number {number}")).await;
            assert_eq!(task.state(), TaskState::Completed);
            let (said, expected) = (said(&task) + ".", format!("{says}: number {number}."));
            assert!(said.contains(&expected), "{said}");
            task.id
        })
    });
    let mut ids = futures::future::join_all(sends).await;
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    for (session, _) in &sessions {
        let listed = session.list_tasks(&ListTasksRequest::default()).await.unwrap();
        assert_eq!(listed.total_size, 100);
    }
}

async fn a_session_is_renewed_only_with_a_key_that_opens_its_agent(wire: Wire) {
    const ANOTHER: &str = "carol's other key, for the other of the agents";
    const MASTER: &str = "carol's third key, which opens all the agents";
    let noon = Timestamp::from_unix_nanos(1_000_000_000_000);
    let end = noon.saturating_add(Duration::from_secs(60));
    let ends =
        KeyEntry { expires: Some(end), ..carols("carol's short-lived key for billing alone", &["billing"]) };
    let master = ApiKey::parse(MASTER).unwrap().entry("carol");
    let keys = |builder: Builder| {
        builder.clock(Clock::standing_at(noon)).key(ends).key(master).key(carols(ANOTHER, &["support"]))
    };
    let (world, ..) = puppets(wire, keys).await;
    let session =
        world.connection().await.authenticate_to("billing", "carol's short-lived key for billing alone");
    assert_eq!(session.who_am_i().await.unwrap().expires, Some(end));
    let refused = session.renew(&client::Credentials::api_key(ANOTHER)).await.unwrap_err();
    assert_eq!(refused.kind(), FaultKind::Forbidden);
    assert!(refused.message().ends_with("as tenant they open: support"), "{refused}");
    assert_eq!(session.who_am_i().await.unwrap().expires, Some(end), "it ends as before");
    assert_eq!(session.renew(&client::Credentials::api_key(MASTER)).await.unwrap(), None);
    assert_eq!(session.renew(&client::Credentials::api_key(CAROL)).await.unwrap(), None);
    assert_eq!(session.who_am_i().await.unwrap().tenant, "billing");
}

async fn what_is_shared_and_derived_stays_with_its_agent(wire: Wire) {
    let (world, _support, mut billing) = puppets(wire, |builder| builder).await;
    let carol = world.connection().await.authenticate_to("billing", CAROL);
    let started = carol.send_streaming("go", Collector::new());
    let cue = billing.turn().await;
    let id = cue.turn.task_id.to_string();
    let (narrow, _grant) = carol.attenuate(&SessionPolicy::default());
    assert_eq!(narrow.who_am_i().await.unwrap().tenant, "billing");
    assert_eq!(narrow.task(&id).get(None).await.unwrap().id, cue.turn.task_id);

    let (secret, _grant) = started.task.share(TaskRole::Observe, &GrantPolicy::default()).await.unwrap();
    let connection = world.connection().await;
    let bob = connection.authenticate_to("support", BOB);
    let shared = connection.claim(&secret);
    assert_eq!(shared.get(None).await.unwrap().id, cue.turn.task_id);
    assert_eq!(bob.task(&id).ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
    let bob_at_billing = connection.authenticate_to("billing", BOB);
    assert_eq!(bob_at_billing.task(&id).ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
}

#[tokio::test]
async fn callers_without_credentials_come_to_every_agent_where_they_are_let_in() {
    let world = World::of(|builder| story_and_parrot(builder).anonymous()).await;
    let service = world.server.service();
    for (tenant, expected) in [(None, "story"), (Some(""), "story"), (Some("parrot"), "parrot")] {
        let grant = service.authenticate(&Credentials::None, tenant).await.unwrap();
        assert_eq!(&**grant.scope().tenant(), expected);
    }
    let refused = service.authenticate(&Credentials::None, Some("nobody")).await.unwrap_err();
    assert_eq!(refused.kind(), FaultKind::Forbidden);
    assert_eq!(&**service.anonymous_grant().unwrap().scope().tenant(), "story");
}

#[tokio::test]
async fn each_agents_card_is_served_to_caches_below_its_own_path() {
    let world = World::of(story_and_parrot).await;
    let host = "Host: 127.0.0.1:PORT\r\n";
    let field = |answer: &str, name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {answer}"))
    };
    let body = |answer: &str| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    let default = get(&world, "/.well-known/agent-card.json", host).await;
    let story = get(&world, "/story/.well-known/agent-card.json", host).await;
    let parrot = get(&world, "/parrot/.well-known/agent-card.json", host).await;
    assert_eq!([&default, &story, &parrot].map(|answer| status(answer)), ["200"; 3]);
    assert_eq!(body(&default), body(&story));
    assert!(body(&parrot).contains("\"tenant\":\"parrot\"") && body(&parrot) != body(&story), "{parrot}");
    assert_eq!(field(&parrot, "cache-control: "), "public, max-age=300");
    let tag = field(&parrot, "etag: ");
    assert_ne!(tag, field(&default, "etag: "));
    let asks = format!("{host}If-None-Match: {tag}\r\n");
    assert_eq!(status(&get(&world, "/parrot/.well-known/agent-card.json", &asks).await), "304");
    assert_eq!(body(&get(&world, "/parrot/.well-known/agent.json", host).await), body(&parrot));
    for path in ["/nobody/", "//", "/parrot/parrot/", "/Parrot/", "/%70arrot/", "/console/", "/parrot//"] {
        let path = format!("{path}.well-known/agent-card.json");
        assert_eq!(status(&get(&world, &path, host).await), "404", "{path}");
    }
}

#[tokio::test]
async fn a_server_whose_agents_make_no_sense_does_not_start_and_says_why() {
    let echo = || Arc::new(Echo);
    let told = async |build: &dyn Fn(Builder) -> Builder| {
        let builder = build(Server::builder().api_key("alice", ALICE).listen("127.0.0.1:0"));
        let error: StartError = builder.start().await.expect_err("it is refused");
        error.to_string()
    };
    let two = |builder: Builder| builder.tenant("a", echo()).tenant("b", echo());
    assert_eq!(told(&two).await, "no agent is the default, for callers who name none: choose one of a, b");
    assert_eq!(
        told(&|builder| two(builder).default_tenant("c")).await,
        "the default agent \"c\" is none of the agents: a, b"
    );
    assert_eq!(
        told(&|builder| builder.tenant("A/b", echo())).await,
        "the agent's name \"A/b\" must begin with a letter from a to z and have at most 63 of a to z, 0 to 9 and -"
    );
    assert_eq!(
        told(&|builder| builder.agent(Echo).key(carols(CAROL, &["support"]))).await,
        "a key of \"carol\" is for the agent \"support\", and there is none"
    );
}

#[tokio::test(flavor = "local")]
async fn agents_of_the_settings_stand_beside_those_that_a_program_gives() {
    let mut parrot = AgentConfig::default();
    parrot.run = "echo".to_owned();
    let mut config = Config::default();
    config.agents.insert("parrot".to_owned(), parrot);
    let configured = |name: &str| {
        let builder = Server::configured(config.clone()).tenant(name, Arc::new(Demo)).listen("127.0.0.1:0");
        builder.default_tenant(name).api_key("alice", ALICE).start()
    };
    let server = configured("story").await.unwrap();
    let connection = Wire::Capnp.connect(&format!("http://{}", server.local_addr())).await;
    for (tenant, is) in [("", "story"), ("story", "story"), ("parrot", "parrot")] {
        let session = connection.authenticate_to(tenant, ALICE);
        assert_eq!(session.who_am_i().await.unwrap().tenant, is);
    }
    let twice = configured("parrot").await.expect_err("it is refused").to_string();
    assert_eq!(twice, "the agent \"parrot\" is in the settings, and given by the program too");
}

#[tokio::test(flavor = "local")]
async fn a_task_of_an_agent_that_is_not_there_any_more_fails_with_a_reason_and_is_not_lost() {
    let state = Scratch::new();
    let start = async |billing: Option<Puppet>| {
        let (support, stage) = Puppet::default().on_stage();
        let (kept, billing_stage) = billing.unwrap_or_default().on_stage();
        let world = World::of(|builder| {
            let short = limits(|limits| limits.net.drain_timeout = Duration::from_millis(50));
            let builder = builder.data_dir(&state.0).limits(short).tenant("support", Arc::new(support));
            let builder = builder.default_tenant("support");
            if billing.is_some() { builder.tenant("billing", Arc::new(kept)) } else { builder }
        });
        (world.await, stage, billing_stage)
    };
    let (world, _stage, mut billing) = start(Some(Puppet::default())).await;
    let session = world.connection().await.authenticate_to("billing", ALICE);
    let _held = session.send_streaming("go", Collector::new());
    let cue = billing.turn().await;
    cue.says("half of it").await;
    let id = cue.turn.task_id.to_string();
    soon("it stops", world.server.stop()).await;

    let (world, mut stage, _) = start(None).await;
    let recovered = world.server.recovered();
    assert_eq!((recovered.failed, recovered.resumed), (1, 0));
    let support = world.connection().await.authenticate_to("support", ALICE);
    let _held = support.send_streaming("work goes on", Collector::new());
    stage.turn().await.end();
    assert_eq!(support.task(&id).ready().await.unwrap_err().kind(), FaultKind::TaskNotFound);
    soon("it stops", world.server.stop()).await;

    let (world, ..) = start(Some(Puppet::default())).await;
    let again = world.connection().await.authenticate_to("billing", ALICE);
    let task = again.task(&id).get(None).await.unwrap();
    assert_eq!((task.state(), said(&task).as_str()), (TaskState::Failed, "half of it"));
    let reason = task.status.message.expect("a reason").text().into_owned();
    assert!(reason.contains("the agent that worked on this is not hosted by it any more"), "{reason}");
}
