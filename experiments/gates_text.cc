#include "experiments/gates_text.h"

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "experiments/textproto.h"

namespace ursa {
namespace {

constexpr char kAccuracy[] = "accuracy";
constexpr double kMarginDefault = 0.01;
constexpr double kConfidenceDefault = 0.95;

absl::Status Bad(int index, const std::string& fact) {
  return absl::InvalidArgumentError(absl::StrCat("gates[", index, "]", fact));
}

}  // namespace

absl::StatusOr<v1::Gates> ParseGates(std::string_view subject, std::string_view text) {
  v1::Gates gates;
  URSA_RETURN_IF_ERROR(ParseTextproto(subject, text, &gates));
  return ResolveGates(gates);
}

absl::StatusOr<v1::Gates> ResolveGates(const v1::Gates& gates) {
  if (gates.gates_size() == 0) {
    return absl::InvalidArgumentError("gates: there is no gate (hint: gates { metric: \"accuracy\" })");
  }
  if (gates.gates_size() > kNumGatesMax) {
    return absl::InvalidArgumentError(absl::StrCat("gates: ", gates.gates_size(), " gates, at most ", kNumGatesMax));
  }
  v1::Gates resolved = gates;
  std::set<std::string> metrics;
  for (int i = 0; i < resolved.gates_size(); ++i) {
    v1::Gate* gate = resolved.mutable_gates(i);
    if (gate->metric() != kAccuracy) {
      return Bad(i, absl::StrCat(".metric: \"", absl::CEscape(gate->metric()), "\"; allowed: \"accuracy\""));
    }
    if (!metrics.insert(gate->metric()).second)
      return Bad(i, absl::StrCat(".metric: \"", gate->metric(), "\" has a gate already"));
    if (!gate->has_non_inferiority_margin()) gate->set_non_inferiority_margin(kMarginDefault);
    if (!gate->has_confidence()) gate->set_confidence(kConfidenceDefault);
    const double margin = gate->non_inferiority_margin();
    if (!(margin >= 0 && margin <= 1))
      return Bad(i, absl::StrCat(".non_inferiority_margin: ", margin, "; allowed: 0 to 1"));
    const double confidence = gate->confidence();
    if (!(confidence > 0.5 && confidence < 1)) {
      return Bad(i, absl::StrCat(".confidence: ", confidence, "; allowed: more than 0.5 and less than 1"));
    }
  }
  return resolved;
}

v1::Gates DefaultGates() {
  v1::Gates gates;
  v1::Gate* gate = gates.add_gates();
  gate->set_metric(kAccuracy);
  gate->set_non_inferiority_margin(kMarginDefault);
  gate->set_confidence(kConfidenceDefault);
  return gates;
}

std::string GatesHash(const v1::Gates& resolved) {
  return Sha256Hex(absl::StrCat("ursa gates 1\n", CanonicalText(resolved)));
}

std::string GateName(const v1::Gate& resolved) {
  return absl::StrCat(resolved.metric(), " not worse by more than ", resolved.non_inferiority_margin(), " at ",
                      100 * resolved.confidence(), " %");
}

}  // namespace ursa
