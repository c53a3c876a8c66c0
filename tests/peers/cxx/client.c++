// Tries an A2A server over Cap'n Proto with the C++ library and its WebSocketMessageStream, a scenario
// at a time. `--help` says how.

#include <kj/main.h>

#include <algorithm>
#include <iostream>

#include "scenarios.h"

namespace {

class Program {
public:
  explicit Program(kj::ProcessContext& context) : context(context) {}

  kj::MainFunc getMain() {
    return kj::MainBuilder(context, "A2A C++ peer",
        "Tries an A2A server, whose agent must be `demo`. Prints `ok NAME` or `FAIL NAME: why` for each "
        "scenario, and ends with 1 if one failed.", names)
        .addOptionWithArg({"url"}, KJ_BIND_METHOD(*this, setUrl), "<url>",
            "Such as ws://127.0.0.1:8420/capnp. Required.")
        .addOptionWithArg({"key"}, KJ_BIND_METHOD(*this, setKey), "<key>",
            "An API key of the server. Required.")
        .addOptionWithArg({"only"}, KJ_BIND_METHOD(*this, addOnly), "<name>",
            "Run this scenario alone. May be given more than once.")
        .callAfterParsing(KJ_BIND_METHOD(*this, run))
        .build();
  }

private:
  kj::ProcessContext& context;
  // A member, since the builder keeps a pointer to it.
  kj::String names = kj::str("Scenarios, in order: ",
      kj::strArray(KJ_MAP(each, scenarios()) { return kj::str(each.name); }, ", "), ".");
  std::string url, key;
  std::vector<std::string> only;

  kj::MainBuilder::Validity setUrl(kj::StringPtr value) {
    if (!value.startsWith("ws://")) return "must begin with ws://";
    // KJ's HTTP client knows a WebSocket by the call, not by the scheme.
    url = "http" + std::string(value.cStr() + 2);
    return true;
  }

  kj::MainBuilder::Validity setKey(kj::StringPtr value) {
    key = value.cStr();
    return true;
  }

  kj::MainBuilder::Validity addOnly(kj::StringPtr value) {
    for (auto& each : scenarios()) {
      if (value == each.name) {
        only.push_back(value.cStr());
        return true;
      }
    }
    return "no such scenario";
  }

  kj::MainBuilder::Validity run() {
    if (url.empty() || key.empty()) return "--url and --key are required";
    World world(url, key);
    unsigned met = 0, tried = 0;
    for (auto& each : scenarios()) {
      if (!only.empty() && std::find(only.begin(), only.end(), each.name) == only.end()) continue;
      ++tried;
      if (attempt(each, world)) ++met;
    }
    std::cout << met << " of " << tried << " scenarios passed" << std::endl;
    if (met != tried) context.exitError("not every scenario passed");
    return true;
  }

  bool attempt(const Scenario& scenario, World& world) {
    std::string why;
    try {
      scenario.run(world);
      std::cout << "ok " << scenario.name << std::endl;
      return true;
    } catch (const Unmet& unmet) {
      why = unmet.what();
    } catch (const kj::Exception& exception) {
      why = exception.getDescription().cStr();
    }
    std::cout << "FAIL " << scenario.name << ": " << why.substr(0, why.find('\n')) << std::endl;
    return false;
  }
};

}  // namespace

KJ_MAIN(Program)
