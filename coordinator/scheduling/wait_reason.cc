#include "coordinator/scheduling/wait_reason.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/scheduling/policy.h"
#include "coordinator/scheduling/simd_level.h"

namespace ursa {
namespace {

constexpr size_t kHoldersMax = 3;  // that are named
constexpr char kAbsent[] = "take no new task (drained or away)";

std::string Name(const GangId& id) {
  return id.experiment_id == 0 ? absl::StrCat("a", id.number) : absl::StrCat("e", id.experiment_id);
}

std::string Slots(int64_t num) { return absl::StrCat(num, num == 1 ? " slot" : " slots"); }

// "label gpu=h100", "labels gpu=h100 and zone=a".
std::string LabelNames(const WaitReason& reason) {
  return absl::StrCat(reason.labels.size() == 1 ? "label " : "labels ", absl::StrJoin(reason.labels, " and "));
}

std::string With(const WaitReason& reason) {
  std::string text = reason.labels.empty() ? "" : absl::StrCat(" with ", LabelNames(reason));
  if (reason.is_simd_scarce) {
    absl::StrAppend(&text, text.empty() ? " with " : " and ", std::string(SimdName(reason.simd_level)));
  }
  return text;
}

std::string NoLabelsText(const WaitReason& reason) {
  const std::string where = absl::StrCat(" in pool ", reason.pool.pool);
  if (reason.num_labelled == 0) {
    return absl::StrCat("0 of ", reason.num_workers, reason.num_workers == 1 ? " worker" : " workers", where,
                        reason.num_workers == 1 ? " has " : " have ", LabelNames(reason));
  }
  return absl::StrCat("workers", where, " with ", LabelNames(reason), " ", kAbsent, " or have no slot that is offered");
}

// What a sum does not contain.
std::string NotCounting(const WaitReason& reason) {
  std::string text;
  if (reason.num_absent > 0) text = absl::StrCat("workers that ", kAbsent);
  if (reason.num_withheld > 0) {
    absl::StrAppend(&text, text.empty() ? "" : " and ", Slots(reason.num_withheld), " that failed a check");
  }
  return text.empty() ? "" : absl::StrCat(", not counting ", text);
}

std::string UserName(const Owner& owner) {
  return owner.workspace.empty() ? owner.user : absl::StrCat(owner.workspace, "/", owner.user);
}

// "e12", "e12 and e9", "e12, e9, e4 and 7 others". Trials of one experiment are named once.
std::string ListHolders(const WaitReason& reason) {
  std::vector<std::string> names;
  for (const WaitReason::Holder& holder : reason.holders) {
    const std::string name = Name(holder.id);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (reason.num_other_holders > 0) {
    names.push_back(absl::StrCat(reason.num_other_holders, reason.num_other_holders == 1 ? " other" : " others"));
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : i + 1 == names.size() ? " and " : ", ", names[i]);
  }
  return text;
}

std::string StoppingText(const WaitReason& reason) {
  int64_t num_slots = 0;
  bool are_preempted = true;
  for (const WaitReason::Holder& holder : reason.holders) {
    num_slots += holder.num_slots;
    are_preempted &= holder.is_preempted;
  }
  return absl::StrCat("waits for ", ListHolders(reason), are_preempted ? " to checkpoint" : " to end", " and give ",
                      reason.num_other_holders > 0 ? std::string("their slots") : Slots(num_slots));
}

}  // namespace

std::string WaitReason::ToText() const {
  const std::string needs = absl::StrCat("needs ", Slots(num_needed));
  const std::string free = absl::StrCat(num_free, " free", With(*this), " in pool ", pool.pool);
  const std::string limit = absl::StrCat(" uses ", limit_used, " of at most ", Slots(limit_max));
  const std::string asks = num_needed > 1 ? absl::StrCat(" and this needs ", num_needed) : "";
  std::string who;
  if (!holders.empty()) {
    const bool is_one = holders.size() == 1 && num_other_holders == 0;
    who = absl::StrCat("; ", ListHolders(*this), is_one ? " runs there" : " run there");
  }
  switch (cause) {
    case WaitCause::kNoWorker:
      return num_absent == 0 ? absl::StrCat("pool \"", pool.pool, "\" has no worker with ", pool.kind, " slots")
                             : absl::StrCat("pool ", pool.pool, " has only workers that ", kAbsent);
    case WaitCause::kWithheld:
      return absl::StrCat("pool ", pool.pool, " has no slot that is offered, ", num_withheld,
                          " failed a check (hint: ursa worker list)");
    case WaitCause::kNoLabels:
      return NoLabelsText(*this);
    case WaitCause::kNoSimd:
      return absl::StrCat("no worker in pool ", pool.pool,
                          labels.empty() ? "" : absl::StrCat(" with ", LabelNames(*this)), " has ",
                          std::string(SimdName(simd_level)));
    case WaitCause::kTooLarge:
      return absl::StrCat(needs, With(*this), ", pool ", pool.pool, " has ", num_total, NotCounting(*this));
    case WaitCause::kUserLimit:
      return absl::StrCat("user ", UserName(owner), limit, " in pool ", pool.pool, asks);
    case WaitCause::kWorkspaceLimit:
      return absl::StrCat("workspace \"", owner.workspace, "\"", limit, " in pool ", pool.pool, asks);
    case WaitCause::kExperimentLimit:
      return absl::StrCat(Name(gang), limit, asks);
    case WaitCause::kStopping:
      return absl::StrCat(needs, ", ", free, "; ", StoppingText(*this));
    case WaitCause::kSlots:
      return absl::StrCat(needs, ", ", free, who);
    case WaitCause::kBehind:
      return absl::StrCat(needs, ", ", free, "; behind ", Name(*behind), who);
    case WaitCause::kKept:
      return absl::StrCat(needs, ", ", free, " but kept for ", Name(*behind));
    case WaitCause::kNext:
      return "starts next";
  }
  return "";
}

WaitExplainer::WaitExplainer(const Pool* pool) : pool_(*pool), first_(FirstInOrder(*pool)) {}

bool WaitExplainer::ExplainLimits(const WaitingQueue::Job& job, WaitReason* reason) const {
  const WaitingQueue& queue = pool_.queue();
  const FairShares::User& user = queue.shares().user(job.user);
  if (job.held_back) {
    const auto slots = queue.SlotsOfExperiment(job.id.experiment_id);
    reason->cause = WaitCause::kExperimentLimit;
    reason->limit_used = slots->num_held;
    reason->limit_max = slots->max;
    return true;
  }
  if (queue.RoomOf(job.user) >= job.min_ranks) return false;
  const SchedulingOptions& options = pool_.options();
  if (options.user_slots_max && user.num_held + job.min_ranks > *options.user_slots_max) {
    reason->cause = WaitCause::kUserLimit;
    reason->limit_used = user.num_held;
    reason->limit_max = *options.user_slots_max;
  } else {
    reason->cause = WaitCause::kWorkspaceLimit;
    reason->limit_used = queue.shares().workspace(user.workspace).num_held;
    reason->limit_max = *options.workspace_slots_max;
  }
  return true;
}

WaitReason WaitExplainer::Explain(int32_t waiting_handle) {
  const WaitingQueue::Job& job = pool_.queue().job(waiting_handle);
  const auto level = static_cast<size_t>(job.simd_level);
  const FreeSlots& slots = pool_.slots();
  WaitReason reason;
  reason.pool = pool_.key();
  reason.owner = pool_.queue().shares().user(job.user).owner;
  reason.gang = job.id;
  reason.num_needed = job.min_ranks;
  const SlotsByLevel& capacity = slots.capacity(job.label_class);
  reason.num_free = slots.num_free(job.label_class)[level];
  reason.num_total = capacity[level];
  reason.simd_level = job.simd_level;
  reason.num_absent = slots.num_workers() - slots.num_usable_workers();
  reason.num_withheld = slots.num_withheld();
  reason.num_workers = slots.num_workers();
  reason.labels = slots.LabelsOf(job.label_class);
  reason.is_simd_scarce = capacity[level] != capacity[0];
  if (slots.num_usable_workers() == 0) {
    reason.cause = WaitCause::kNoWorker;
  } else if (slots.capacity()[0] == 0 && reason.num_withheld > 0) {
    reason.cause = WaitCause::kWithheld;
  } else if (job.label_class != kNoLabels && capacity[0] == 0) {
    reason.cause = WaitCause::kNoLabels;
    reason.num_labelled = slots.NumWorkersOf(job.label_class);
  } else if (reason.num_total == 0) {
    reason.cause = WaitCause::kNoSimd;
  } else if (reason.num_total < job.min_ranks) {
    reason.cause = WaitCause::kTooLarge;
  } else if (ExplainLimits(job, &reason)) {
    return reason;
  } else if (waiting_handle == first_) {
    if (reason.num_free >= job.min_ranks) return reason;
    const bool is_stopping = pool_.NumStoppingFor(job) > 0;
    reason.cause = is_stopping ? WaitCause::kStopping : WaitCause::kSlots;
    AddHolders(is_stopping, job, &reason);
  } else if (first_ != Pool::kNone) {
    reason.behind = pool_.queue().job(first_).id;
    reason.cause = reason.num_free >= job.min_ranks ? WaitCause::kKept : WaitCause::kBehind;
    if (reason.cause == WaitCause::kBehind) AddHolders(false, job, &reason);
  }
  return reason;
}

void WaitExplainer::AddHolders(bool stopping, const WaitingQueue::Job& job, WaitReason* reason) {
  const auto [known, is_new] = holders_.try_emplace({stopping, job.label_class, job.simd_level});
  if (is_new) known->second = FindHolders(stopping, job);
  reason->holders = known->second.top;
  reason->num_other_holders = known->second.num_others;
}

WaitExplainer::Holders WaitExplainer::FindHolders(bool stopping, const WaitingQueue::Job& job) const {
  std::vector<const Pool::Running*> found;
  for (int32_t handle = 0; handle < pool_.all_running().num_handles(); ++handle) {
    const Pool::Running& running = pool_.running(handle);
    if (running.in_use && (running.stopping || !stopping) && pool_.GivesTo(running, job) > 0) found.push_back(&running);
  }
  const size_t num_top = std::min(found.size(), kHoldersMax);
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(num_top), found.end(),
                    [](const Pool::Running* a, const Pool::Running* b) {
                      return std::tie(b->priority, a->start, a->id) < std::tie(a->priority, b->start, b->id);
                    });
  Holders holders;
  for (size_t i = 0; i < num_top; ++i) {
    holders.top.push_back({found[i]->id, pool_.GivesTo(*found[i], job), found[i]->preempted_for.has_value()});
  }
  holders.num_others = static_cast<int64_t>(found.size() - num_top);
  return holders;
}

}  // namespace ursa
