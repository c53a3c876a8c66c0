// What the scenarios say their expectations with: checks, typed errors, an observer that records, and the
// connection itself.
#pragma once

#include <capnp/compat/websocket-rpc.h>
#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/compat/http.h>

#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "capability.capnp.h"

// An expectation that was not met.
struct Unmet : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Fault {
  int code = 0;
  std::string reason;

  bool operator==(const Fault& other) const { return code == other.code && reason == other.reason; }
};

inline const Fault NONE{};
inline const Fault UNAUTHENTICATED{-31401, "UNAUTHENTICATED"};
inline const Fault TASK_NOT_FOUND{-32001, "TASK_NOT_FOUND"};
inline const Fault TASK_NOT_CANCELABLE{-32002, "TASK_NOT_CANCELABLE"};
inline const Fault FORBIDDEN{-31403, "FORBIDDEN"};
inline const Fault REVOKED{-31410, "REVOKED"};

using Strings = std::vector<std::string>;
using Numbers = std::vector<uint64_t>;

inline std::string show(const std::string& text) { return '"' + text + '"'; }
inline std::string show(const Fault& fault) { return std::to_string(fault.code) + " " + fault.reason; }
inline std::string show(uint64_t number) { return std::to_string(number); }
template <typename Item>
std::string show(const std::vector<Item>& items) {
  std::string all;
  for (auto& item : items) all += show(item) + " ";
  return "[ " + all + "]";
}

inline void check(bool condition, const std::string& why) {
  if (!condition) throw Unmet(why);
}

template <typename Value>
void same(const Value& actual, const Value& expected, const std::string& what) {
  check(actual == expected, what + ": expected " + show(expected) + ", got " + show(actual));
}

// The first error of a chain, as an exception carries it: `A2A <code> <REASON>: ` anywhere in its reason.
Fault ofException(const kj::Exception& exception);

// The `error` of a result, or NONE when all is well.
template <typename Result>
Fault typedError(const Result& result) {
  if (!result.hasError()) return NONE;
  return {result.getError().getCode(), result.getError().getReason().cStr()};
}

// Everything that an observer was told.
struct Seen {
  Numbers seqs, finals;
  Strings states, chunks;
  std::vector<bool> appends;
  uint64_t snapshots = 0;
  std::string end;  // the reason of onEnd, empty before
  uint64_t lastSeq = 0;
  Fault endError;
  uint64_t callsAfterEnd = 0;
  kj::Own<kj::PromiseFulfiller<void>> changed;

  // No gap and no repeat from `first`, one final event, the last, and nothing after onEnd.
  void checkNumbers(uint64_t first = 1) const;
};

// Every observer of these tests has onTask and nothing else that is optional.
TaskObserver::Client observer(std::shared_ptr<Seen> seen);

// The event loop, where the server is, and the key that it accepts.
class World final : public kj::EntropySource {
public:
  World(std::string url, std::string key) : url(std::move(url)), key(std::move(key)) {}

  const std::string url, key;
  kj::AsyncIoContext io = kj::setupAsyncIo();

  // Waits for a promise, but never for ever.
  template <typename Result>
  Result within(kj::Promise<Result>&& promise) {
    auto late = io.provider->getTimer().afterDelay(15 * kj::SECONDS).then(
        []() -> kj::Promise<Result> { return KJ_EXCEPTION(OVERLOADED, "no answer within 15 s"); });
    return promise.exclusiveJoin(kj::mv(late)).wait(io.waitScope);
  }

  // The result of a call that has to go well.
  template <typename Call>
  auto fine(Call&& call) {
    auto result = within(kj::mv(call));
    same(typedError(result), NONE, "error");
    return result;
  }

  // The error of a call that has to fail, in its result or as a broken object does.
  template <typename Call>
  Fault failureOf(Call&& call) {
    try {
      return typedError(within(kj::mv(call)));
    } catch (const kj::Exception& exception) {
      return ofException(exception);
    }
  }

  void until(Seen& seen, const std::string& what, std::function<bool()> reached);
  void untilState(Seen& seen, const std::string& state);
  void untilEnd(Seen& seen, const std::string& reason);

  void generate(kj::ArrayPtr<kj::byte> buffer) override {
    for (auto& each : buffer) each = static_cast<kj::byte>(random());
  }
  std::string freshId();

private:
  std::random_device random;
};

// One connection; it ends with the object.
class Line {
public:
  explicit Line(World& world);

  A2aService::Client service();
  Session::Client session();
  capnp::RemotePromise<A2aService::AuthenticateResults> authenticate(const std::string& key);

private:
  World& world;
  kj::HttpHeaderTable headers;
  kj::Own<kj::HttpClient> http;
  kj::Own<kj::WebSocket> socket;
  kj::Own<capnp::WebSocketMessageStream> messages;
  kj::Own<capnp::TwoPartyVatNetwork> network;
  kj::Maybe<capnp::RpcSystem<capnp::rpc::twoparty::VatId>> rpc;
};
