#include "coordinator/core/promotion.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "experiments/resource_names.h"

namespace ursa {
namespace {

std::string VersionName(const std::string& model, int64_t version) {
  VersionRef ref;
  ref.name = model;
  ref.version = version;
  return ModelVersionName(ref);
}

std::string Short(const std::string& model, int64_t version) { return absl::StrCat(model, "@", version); }

absl::Status Refuse(const PromotionQuestion& question, const std::string& why) {
  return absl::FailedPreconditionError(
      absl::StrCat("model ", Short(question.model, question.candidate), ": cannot promote, ", why));
}

std::string VerdictWords(v1::Verdict verdict) {
  switch (verdict) {
    case v1::VERDICT_PASS:
      return "pass";
    case v1::VERDICT_FAIL:
      return "fail";
    case v1::VERDICT_NEED_MORE_DATA:
      return "need_more_data";
    default:
      return "unknown";
  }
}

absl::Status CheckComparison(const PromotionQuestion& question, const records::ComparisonRecord& record) {
  const v1::Comparison& comparison = record.comparison();
  const std::string id = comparison.comparison_id();
  if (comparison.candidate() != VersionName(question.model, question.candidate)) {
    return Refuse(question, absl::StrCat("comparison ", id, " is of the candidate ", comparison.candidate()));
  }
  if (comparison.baseline() != VersionName(question.model, question.champion)) {
    return Refuse(question, absl::StrCat("comparison ", id, " is with ", comparison.baseline(), ", the champion is ",
                                         Short(question.model, question.champion)));
  }
  if (comparison.state() != v1::Comparison::STATE_COMPLETED) {
    return Refuse(question, absl::StrCat("comparison ", id, " is not complete"));
  }
  if (comparison.gates_hash() != question.gates_hash) {
    return Refuse(question, absl::StrCat("comparison ", id,
                                         " was made under other gates than the model's (hint: compare again)"));
  }
  if (comparison.verdict() != v1::VERDICT_PASS) {
    return Refuse(question, absl::StrCat("the verdict of comparison ", id, " is ", VerdictWords(comparison.verdict())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> FindEvidence(const State& state, const PromotionQuestion& question) {
  if (question.champion == question.candidate) return Refuse(question, "it is the champion already");
  if (!question.comparison.empty()) {
    URSA_ASSIGN_OR_RETURN(const int64_t id, ParseIdName("comparisons", 'c', question.comparison));
    const auto* record = state.Find<records::ComparisonRecord>(id);
    if (record == nullptr) {
      return absl::NotFoundError(absl::StrCat("comparison ", ComparisonId(id).ToString(), ": not found"));
    }
    URSA_RETURN_IF_ERROR(CheckComparison(question, *record));
    return ComparisonId(id).ToString();
  }
  const std::string candidate = VersionName(question.model, question.candidate);
  if (question.champion == 0) {
    for (const int64_t id : state.EvaluationsOf(candidate)) {
      const auto* record = state.Find<records::EvaluationRecord>(id);
      if (record->evaluation().state() == v1::Evaluation::STATE_COMPLETED) return "";
    }
    return Refuse(question,
                  "there is no champion to compare with, and no complete evaluation of it (hint: ursa evaluate first)");
  }
  const std::set<int64_t>& comparisons = state.ComparisonsOf(candidate, VersionName(question.model, question.champion));
  if (comparisons.empty()) {
    return Refuse(question, absl::StrCat("there is no comparison of it with the champion ",
                                         Short(question.model, question.champion), " (hint: ursa compare first)"));
  }
  // The latest one that says something under the gates of now decides: an older pass does not outweigh it.
  absl::Status refusal;
  for (auto it = comparisons.rbegin(); it != comparisons.rend(); ++it) {
    const auto& record = *state.Find<records::ComparisonRecord>(*it);
    const absl::Status status = CheckComparison(question, record);
    if (status.ok()) return ComparisonId(*it).ToString();
    if (refusal.ok()) refusal = status;
    const bool is_judgement = record.comparison().state() == v1::Comparison::STATE_COMPLETED &&
                              record.comparison().gates_hash() == question.gates_hash;
    if (is_judgement) return status;
  }
  return refusal;
}

}  // namespace ursa
