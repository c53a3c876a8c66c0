// What this peer promises itself of the server: one function for each promise.
#pragma once

#include "expect.h"

struct Scenario {
  const char* name;
  void (*run)(World&);  // throws if an expectation is not met
};

// All of them, in the order in which they run.
const std::vector<Scenario>& scenarios();
