#include "scenarios.h"

namespace {

using SeenPtr = std::shared_ptr<Seen>;

SeenPtr fresh() { return std::make_shared<Seen>(); }

void fill(Message::Builder message, World& world, const std::string& text) {
  message.setMessageId(world.freshId());
  message.setRole(Role::USER);
  message.initParts(1)[0].initContent().setText(text);
}

auto streamRequest(World& world, Session::Client session, const std::string& text, SeenPtr seen) {
  auto call = session.sendStreamingMessageRequest();
  fill(call.initRequest().initMessage(), world, text);
  call.setObserver(observer(std::move(seen)));
  call.initFeatures().setOnTask(true);
  return call;
}

// A task and the right to be called about it. Dropping either is felt by the server.
struct Started {
  kj::Maybe<TaskHandle::Client> handle;
  kj::Maybe<Subscription::Client> subscription;

  TaskHandle::Client& task() { return KJ_ASSERT_NONNULL(handle); }
};

Started start(World& world, Session::Client session, const std::string& text, SeenPtr seen,
    bool cancelOnDrop = false) {
  auto call = streamRequest(world, session, text, std::move(seen));
  call.initOptions().setCancelOnDrop(cancelOnDrop);
  auto sent = world.fine(call.send());
  return {sent.getTask(), sent.getSubscription()};
}

Subscription::Client watch(World& world, TaskHandle::Client task, SeenPtr seen, uint64_t after) {
  auto call = task.subscribeRequest();
  call.setObserver(observer(std::move(seen)));
  call.initFeatures().setOnTask(true);
  call.initCursor().setAfter(after);
  return world.fine(call.send()).getSubscription();
}

TaskHandle::Client taskOf(Session::Client session, const std::string& id) {
  auto call = session.taskRequest();
  call.setId(id);
  return call.send().getTask();
}

std::string idOf(World& world, TaskHandle::Client task) {
  return world.fine(task.getRequest().send()).getTask().getId().cStr();
}

Fault failureOfGet(World& world, TaskHandle::Client task) {
  return world.failureOf(task.getRequest().send());
}

Fault failureOfWhoAmI(World& world, Session::Client session) {
  return world.failureOf(session.whoAmIRequest().send());
}

// ---------------------------------------------------------------------------------------------------
// Authentication and errors

void authenticate(World& world) {
  Line line(world);
  auto who = world.fine(line.session().whoAmIRequest().send());
  check(who.getIdentity().getSubject().size() > 0, "an identity without a subject");
  check(!who.getIdentity().getAnonymous(), "an anonymous identity");
}

void wrongKey(World& world) {
  Line line(world);
  auto refused = line.authenticate("wrong");
  auto dependent = refused.getSession().whoAmIRequest().send();
  same(typedError(world.within(kj::mv(refused))), UNAUTHENTICATED, "error");
  same(world.failureOf(kj::mv(dependent)), UNAUTHENTICATED, "pipelined error");
}

void typedErrorOfMissingTask(World& world) {
  Line line(world);
  auto call = line.session().getTaskRequest();
  call.initRequest().setId("no-such-task");
  auto result = world.within(call.send());
  same(typedError(result), TASK_NOT_FOUND, "error");
  same(std::string(result.getError().getDomain().cStr()), std::string("a2a-protocol.org"), "domain");
}

void pipelinedError(World& world) {
  Line line(world);
  auto call = line.session().taskRequest();
  call.setId("no-such-task");
  auto missing = call.send();
  auto dependent = missing.getTask().getRequest().send();
  try {
    world.within(kj::mv(dependent));
    throw Unmet("the call on a broken object was answered");
  } catch (const kj::Exception& exception) {
    same(ofException(exception), TASK_NOT_FOUND, "call on the handle");
  }
  same(typedError(world.within(kj::mv(missing))), TASK_NOT_FOUND, "the lookup itself");
}

// ---------------------------------------------------------------------------------------------------
// Streams

void pipelinedSend(World& world) {
  Line line(world);
  auto seen = fresh();
  auto authenticated = line.authenticate(world.key);
  auto sent = streamRequest(world, authenticated.getSession(), "hello", seen).send();
  auto got = sent.getTask().getRequest().send();
  check(world.fine(kj::mv(got)).getTask().getId().size() > 0, "a task without an id");
  auto kept = world.fine(kj::mv(sent));
  world.untilEnd(*seen, "completed");
  seen->checkNumbers();
}

void callbacks(World& world) {
  Line line(world);
  auto seen = fresh();
  auto started = start(world, line.session(), "stream 20 5ms", seen);
  world.untilEnd(*seen, "completed");
  seen->checkNumbers();
  same(seen->snapshots, uint64_t{1}, "snapshots");
  same(seen->states, Strings{"submitted", "working", "completed"}, "states");
  same(uint64_t{seen->chunks.size()}, uint64_t{20}, "chunks");
  for (size_t n = 0; n < seen->appends.size(); ++n) check(seen->appends[n] == (n > 0), "a wrong `append`");
}

void inputRequired(World& world) {
  Line line(world);
  auto asked = fresh(), answered = fresh();
  auto started = start(world, line.session(), "ask", asked);
  world.untilEnd(*asked, "interrupted");
  asked->checkNumbers();
  same(asked->states.back(), std::string("inputRequired"), "last state");
  auto call = started.task().sendStreamingRequest();
  fill(call.initRequest().initMessage(), world, "blue");
  call.setObserver(observer(answered));
  auto kept = world.fine(call.send());
  world.untilEnd(*answered, "completed");
  answered->checkNumbers(asked->lastSeq + 1);
}

void resumeAfterN(World& world) {
  const uint64_t cutAt = 7;
  auto before = fresh(), after = fresh(), replay = fresh();
  std::string id;
  {
    Line line(world);
    auto started = start(world, line.session(), "stream 40 10ms", before);
    world.until(*before, "event 7", [&] { return before->seqs.size() >= cutAt; });
    id = idOf(world, started.task());
  }
  Line line(world);
  auto task = taskOf(line.session(), id);
  auto resumed = watch(world, task, after, cutAt);
  world.untilEnd(*after, "completed");
  after->checkNumbers(cutAt + 1);
  auto replayed = watch(world, task, replay, 0);
  world.untilEnd(*replay, "completed");
  replay->checkNumbers();
  same(after->lastSeq, replay->lastSeq, "last event of both");
  // The first two events are states, and the others chunks, but for the last.
  Strings rest(replay->chunks.begin() + (cutAt - 2), replay->chunks.end());
  same(after->chunks, rest, "chunks after the cut");
}

void subscriptionDropped(World& world) {
  Line line(world);
  auto owner = fresh(), watcher = fresh();
  auto started = start(world, line.session(), "long", owner);
  kj::Maybe<Subscription::Client> subscription = watch(world, started.task(), watcher, 0);
  world.untilState(*watcher, "working");
  subscription = nullptr;
  world.untilEnd(*watcher, "detached");
  world.fine(started.task().cancelRequest().send());
  world.untilEnd(*owner, "completed");
}

// ---------------------------------------------------------------------------------------------------
// Cancel, and what dropping takes back

void cancel(World& world) {
  Line line(world);
  auto seen = fresh();
  auto started = start(world, line.session(), "long", seen);
  world.untilState(*seen, "working");
  auto canceled = world.fine(started.task().cancelRequest().send());
  check(canceled.getTask().getStatus().getState() == TaskState::CANCELED, "not canceled in the answer");
  world.untilEnd(*seen, "completed");
  seen->checkNumbers();
  same(seen->states.back(), std::string("canceled"), "last state of the stream");
  auto second = world.within(started.task().cancelRequest().send());
  same(typedError(second), TASK_NOT_CANCELABLE, "the second cancel");
}

void cancelOnDrop(World& world) {
  Line line(world);
  auto owner = fresh(), watcher = fresh();
  auto session = line.session();
  auto started = start(world, session, "long", owner, true);
  world.untilState(*owner, "working");
  auto id = idOf(world, started.task());
  auto watching = watch(world, taskOf(session, id), watcher, 0);
  started.handle = nullptr;
  world.untilEnd(*watcher, "completed");
  same(watcher->states.back(), std::string("canceled"), "last state");
}

struct Derived {
  Session::Client session;
  kj::Maybe<Grant::Client> grant;
};

Derived attenuate(World& world, Session::Client session) {
  auto result = world.fine(session.attenuateRequest().send());
  return {result.getSession(), result.getGrant()};
}

void revocationByDrop(World& world) {
  Line line(world);
  auto seen = fresh();
  auto session = line.session();
  auto derived = attenuate(world, session), below = attenuate(world, derived.session);
  auto started = start(world, derived.session, "long", seen);
  world.untilState(*seen, "working");
  auto id = idOf(world, started.task());
  derived.grant = nullptr;
  world.untilEnd(*seen, "revoked");
  same(seen->endError, REVOKED, "error of onEnd");
  same(failureOfWhoAmI(world, derived.session), REVOKED, "the derived session");
  same(failureOfGet(world, started.task()), REVOKED, "what the derived session returned");
  same(failureOfWhoAmI(world, below.session), REVOKED, "the session derived from the derived one");
  world.fine(taskOf(session, id).cancelRequest().send());
}

void revokedTaskHandle(World& world) {
  Line line(world);
  auto owner = fresh(), watcher = fresh();
  auto started = start(world, line.session(), "long", owner);
  auto call = started.task().attenuateRequest();
  call.setRole(TaskRole::OBSERVE);
  auto derived = world.fine(call.send());
  auto narrow = derived.getTask();
  same(typedError(world.within(narrow.cancelRequest().send())), FORBIDDEN, "cancel by an observer");
  auto watching = watch(world, narrow, watcher, 0);
  world.untilState(*watcher, "working");
  world.within(derived.getGrant().revokeRequest().send());
  same(failureOfGet(world, narrow), REVOKED, "a call after revoke was answered");
  world.untilEnd(*watcher, "revoked");
  world.fine(started.task().cancelRequest().send());
}

capnp::RemotePromise<A2aService::ClaimResults> claim(Line& line, const std::string& secret) {
  auto call = line.service().claimRequest();
  call.setSecret(secret);
  return call.send();
}

void shareAndClaim(World& world) {
  Line first(world), second(world), third(world);
  auto seen = fresh();
  auto started = start(world, first.session(), "long", seen);
  auto call = started.task().shareRequest();
  call.setRole(TaskRole::CONTROL);
  auto shared = world.fine(call.send());
  std::string secret = shared.getSecret().cStr();
  auto claimed = world.fine(claim(second, secret)).getTask();
  same(idOf(world, claimed), idOf(world, started.task()), "the claimed task");
  auto again = typedError(world.within(claim(third, secret)));
  check(!(again == NONE), "the secret worked twice");
  same(again, typedError(world.within(claim(third, "wrong"))), "a used and a wrong secret");
  world.within(shared.getGrant().revokeRequest().send());
  same(failureOfGet(world, claimed), REVOKED, "the claimed handle");
  world.fine(started.task().cancelRequest().send());
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all{
      {"authenticate", authenticate},
      {"wrong_key", wrongKey},
      {"typed_error", typedErrorOfMissingTask},
      {"pipelined_error", pipelinedError},
      {"pipelined_send", pipelinedSend},
      {"callbacks", callbacks},
      {"input_required", inputRequired},
      {"resume_after_n", resumeAfterN},
      {"subscription_dropped", subscriptionDropped},
      {"cancel", cancel},
      {"cancel_on_drop", cancelOnDrop},
      {"revocation_by_drop", revocationByDrop},
      {"revoked_task_handle", revokedTaskHandle},
      {"share_and_claim", shareAndClaim},
  };
  return all;
}
