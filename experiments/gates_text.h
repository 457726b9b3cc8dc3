// Gates (ursa.v1.Gates): what a candidate must show against the champion. Parsed and checked like recipes.
#ifndef URSA_EXPERIMENTS_GATES_TEXT_H_
#define URSA_EXPERIMENTS_GATES_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ursa/v1/registry.pb.h"

namespace ursa {

inline constexpr int kNumGatesMax = 16;

// Parses `gates { metric: "accuracy" non_inferiority_margin: 0.01 confidence: 0.95 }` and resolves it.
// Errors: INVALID_ARGUMENT, see ParseTextproto and ResolveGates.
absl::StatusOr<v1::Gates> ParseGates(std::string_view subject, std::string_view text);

// Checks gates and writes out their defaults. Errors: INVALID_ARGUMENT: no gate, more than kNumGatesMax, a metric that
// has no paired test (accuracy has), a margin outside [0, 1], a confidence outside (0.5, 1), the same metric twice.
absl::StatusOr<v1::Gates> ResolveGates(const v1::Gates& gates);

// Accuracy not worse by more than 0.01 at 95 %.
v1::Gates DefaultGates();

// SHA-256 of resolved gates, their order included. 64 lower-case hex digits.
std::string GatesHash(const v1::Gates& resolved);

// "accuracy not worse by more than 0.01 at 95 %".
std::string GateName(const v1::Gate& resolved);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_GATES_TEXT_H_
