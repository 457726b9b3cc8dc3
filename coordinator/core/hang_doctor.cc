#include "coordinator/core/hang_doctor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "coordinator/state/task_name.h"

namespace ursa {
namespace {

constexpr absl::Duration kRound = absl::Seconds(1);
constexpr size_t kDoingBytesMax = 64;

// The gang if its ranks are at work, or nothing.
const records::Gang* WorkingGang(const Tx& tx, const TrialId& id) {
  const auto* trial = tx.state().Find<records::TrialRecord>(id);
  if (trial == nullptr || !trial->has_gang() || trial->gang().done()) return nullptr;
  return trial->gang().phase() == records::Gang::PHASE_ENDING ? nullptr : &trial->gang();
}

bool HasWork(const records::Rank& rank) {
  return !rank.gone() && rank.outcome() == worker::v1::TaskFinished::OUTCOME_UNSPECIFIED;
}

}  // namespace

void HangDoctor::OnStatus(const Tx& tx, int64_t worker_id, const worker::v1::TaskStatus& status) {
  if (!status.has_position()) return;
  const std::optional<TrialId> id = ParseTaskName(status.task_id());
  const records::Gang* gang = id ? WorkingGang(tx, *id) : nullptr;
  if (gang == nullptr || status.rank() < 0 || status.rank() >= gang->ranks_size() ||
      gang->ranks(status.rank()).worker_id() != worker_id ||
      Gangs::ProcessEpoch(*gang, status.rank()) != status.epoch()) {
    return;
  }
  const absl::Time now = env_.clock->Now();
  Watch& watch = watches_[*id];
  if (watch.epoch != gang->epoch()) watch = Watch{gang->epoch(), now, {}};
  watch.ranks.resize(static_cast<size_t>(gang->ranks_size()));
  const worker::v1::RankPosition& position = status.position();
  RankReport report;
  report.rank = status.rank();
  report.worker = WorkerId(worker_id).ToString();
  report.step = position.step();
  report.collectives = position.collectives();
  report.in_collective = position.in_collective();
  report.doing = position.doing().substr(0, kDoingBytesMax);
  report.heard = now - absl::Milliseconds(std::max<int64_t>(0, status.silent_millis()));
  report.since = report.heard - absl::Milliseconds(std::max<int64_t>(0, position.for_millis()));
  watch.ranks[static_cast<size_t>(status.rank())] = std::move(report);
}

void HangDoctor::OnReconnected(const Tx& tx, int64_t worker_id) {
  for (const TrialId& id : tx.state().LoadOf(worker_id).trials) {
    const auto watch = watches_.find(id);
    if (watch != watches_.end()) watch->second.began = env_.clock->Now();
  }
}

std::optional<Diagnosis> HangDoctor::Examine(const Tx& tx, const TrialId& id, const Watch& watch) const {
  const records::Gang* gang = WorkingGang(tx, id);
  if (gang == nullptr || gang->epoch() != watch.epoch) return std::nullopt;
  std::vector<RankReport> ranks;
  for (size_t r = 0; r < watch.ranks.size(); ++r) {
    if (!HasWork(gang->ranks(static_cast<int>(r)))) continue;
    if (!watch.ranks[r]) return std::nullopt;
    ranks.push_back(*watch.ranks[r]);
  }
  return Diagnose(ranks, env_.clock->Now(), DiagnosisOptions());
}

std::string HangDoctor::Explain(const Tx& tx, const TrialId& id) const {
  const auto watch = watches_.find(id);
  if (watch == watches_.end()) return "";
  const std::optional<Diagnosis> diagnosis = Examine(tx, id, watch->second);
  return diagnosis ? diagnosis->text : "";
}

void HangDoctor::Tick(Tx& tx) {
  const absl::Time now = env_.clock->Now();
  if (now < next_round_) return;
  next_round_ = now + kRound;
  for (auto it = watches_.begin(); it != watches_.end();) {
    const auto& [id, watch] = *it;
    const records::Gang* gang = WorkingGang(tx, id);
    if (gang == nullptr || gang->epoch() != watch.epoch) {
      it = watches_.erase(it);
      continue;
    }
    const std::optional<Diagnosis> diagnosis = Examine(tx, id, watch);
    if (diagnosis && now - std::max(diagnosis->since, watch.began) >= env_.options.stall_limit) {
      gangs_.EndStalled(tx, id, diagnosis->late.front(), absl::StrCat("stalled: ", diagnosis->text));
    }
    ++it;
  }
}

}  // namespace ursa
