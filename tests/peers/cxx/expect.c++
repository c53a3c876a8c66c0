#include "expect.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

Fault ofException(const kj::Exception& exception) {
  std::string text = exception.getDescription().cStr();
  auto at = text.find("A2A ");
  check(at != std::string::npos, "an exception without a typed error: " + text);
  char* rest = nullptr;
  int code = static_cast<int>(std::strtol(text.c_str() + at + 4, &rest, 10));
  std::string reason;
  if (*rest == ' ') ++rest;
  for (; std::isupper(*rest) || *rest == '_'; ++rest) reason += *rest;
  return {code, reason};
}

void Seen::checkNumbers(uint64_t first) const {
  Numbers expected;
  for (uint64_t n = 0; n < seqs.size(); ++n) expected.push_back(first + n);
  same(seqs, expected, "numbers of the events");
  check(!seqs.empty(), "no event came");
  same(finals, Numbers{seqs.back()}, "final events");
  same(lastSeq, seqs.back(), "lastSeq of onEnd");
  same(callsAfterEnd, uint64_t{0}, "calls after onEnd");
}

namespace {

std::string name(TaskState state) {
  switch (state) {
    case TaskState::SUBMITTED: return "submitted";
    case TaskState::WORKING: return "working";
    case TaskState::COMPLETED: return "completed";
    case TaskState::FAILED: return "failed";
    case TaskState::CANCELED: return "canceled";
    case TaskState::INPUT_REQUIRED: return "inputRequired";
    default: return "another state";
  }
}

std::string name(EndReason reason) {
  switch (reason) {
    case EndReason::COMPLETED: return "completed";
    case EndReason::INTERRUPTED: return "interrupted";
    case EndReason::DETACHED: return "detached";
    case EndReason::REVOKED: return "revoked";
    default: return "another reason";
  }
}

class Recorder final : public TaskObserver::Server {
public:
  explicit Recorder(std::shared_ptr<Seen> seen) : seen(std::move(seen)) {}

  kj::Promise<void> onStatusUpdate(OnStatusUpdateContext context) override {
    auto params = context.getParams();
    seen->states.push_back(name(params.getUpdate().getStatus().getState()));
    return event(params.getSeq(), params.getFinal());
  }

  kj::Promise<void> onArtifactUpdate(OnArtifactUpdateContext context) override {
    auto params = context.getParams();
    seen->chunks.push_back(params.getUpdate().getArtifact().getParts()[0].getContent().getText().cStr());
    seen->appends.push_back(params.getUpdate().getAppend());
    return event(params.getSeq(), params.getFinal());
  }

  kj::Promise<void> onTask(OnTaskContext) override {
    ++seen->snapshots;
    return changed();
  }

  kj::Promise<void> onEnd(OnEndContext context) override {
    auto params = context.getParams();
    seen->end = name(params.getReason());
    seen->lastSeq = params.getLastSeq();
    seen->endError = typedError(params);
    return changed();
  }

private:
  std::shared_ptr<Seen> seen;

  kj::Promise<void> event(uint64_t seq, bool final) {
    if (!seen->end.empty()) ++seen->callsAfterEnd;
    seen->seqs.push_back(seq);
    if (final) seen->finals.push_back(seq);
    return changed();
  }

  kj::Promise<void> changed() {
    if (seen->changed.get() != nullptr) seen->changed->fulfill();
    return kj::READY_NOW;
  }
};

}  // namespace

TaskObserver::Client observer(std::shared_ptr<Seen> seen) { return kj::heap<Recorder>(std::move(seen)); }

void World::until(Seen& seen, const std::string& what, std::function<bool()> reached) {
  while (!reached()) {
    auto next = kj::newPromiseAndFulfiller<void>();
    seen.changed = kj::mv(next.fulfiller);
    try {
      within(kj::mv(next.promise));
    } catch (const kj::Exception&) {
      throw Unmet(what + " never came; states " + show(seen.states) + ", end " + show(seen.end));
    }
  }
}

void World::untilState(Seen& seen, const std::string& state) {
  until(seen, state, [&] {
    return std::find(seen.states.begin(), seen.states.end(), state) != seen.states.end();
  });
}

void World::untilEnd(Seen& seen, const std::string& reason) {
  until(seen, "onEnd", [&] { return !seen.end.empty(); });
  same(seen.end, reason, "reason of onEnd");
}

std::string World::freshId() {
  return std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
}

Line::Line(World& world) : world(world) {
  kj::HttpClientSettings settings;
  settings.entropySource = world;
  http = kj::newHttpClient(
      world.io.provider->getTimer(), headers, world.io.provider->getNetwork(), nullptr, settings);
  auto response = world.within(http->openWebSocket(world.url, kj::HttpHeaders(headers)));
  check(response.webSocketOrBody.is<kj::Own<kj::WebSocket>>(),
      "no WebSocket at " + world.url + ": HTTP " + std::to_string(response.statusCode));
  socket = kj::mv(response.webSocketOrBody.get<kj::Own<kj::WebSocket>>());
  messages = kj::heap<capnp::WebSocketMessageStream>(*socket);
  network = kj::heap<capnp::TwoPartyVatNetwork>(*messages, capnp::rpc::twoparty::Side::CLIENT);
  rpc = capnp::makeRpcClient(*network);
}

A2aService::Client Line::service() {
  capnp::MallocMessageBuilder builder;
  auto server = builder.initRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  return KJ_ASSERT_NONNULL(rpc).bootstrap(server).castAs<A2aService>();
}

capnp::RemotePromise<A2aService::AuthenticateResults> Line::authenticate(const std::string& key) {
  auto call = service().authenticateRequest();
  call.initCredentials().setApiKey(key);
  return call.send();
}

Session::Client Line::session() { return world.fine(authenticate(world.key)).getSession(); }
