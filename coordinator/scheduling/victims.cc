#include "coordinator/scheduling/victims.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>
#include <tuple>

namespace ursa {
namespace {

using Candidates = std::vector<VictimCandidate>;

const VictimCandidate& At(const Candidates& candidates, int32_t index) {
  return candidates[static_cast<size_t>(index)];
}

int64_t SlotsOf(const Candidates& candidates, const std::vector<int32_t>& indexes) {
  int64_t sum = 0;
  for (const int32_t index : indexes) sum += At(candidates, index).num_slots;
  return sum;
}

struct Cost {
  int64_t lost_millis = 0;
  int64_t num_gangs = 0;
  int64_t num_slots = 0;
  friend bool operator<(const Cost& a, const Cost& b) {
    return std::tie(a.lost_millis, a.num_gangs, a.num_slots) < std::tie(b.lost_millis, b.num_gangs, b.num_slots);
  }
};

// Those that a cheapest cover can need: of each size the cheapest, and no more of them than are enough alone.
std::vector<int32_t> DropUseless(const Candidates& candidates, const std::vector<int32_t>& indexes,
                                 int64_t num_needed) {
  std::map<int64_t, std::vector<int32_t>> by_size;
  for (const int32_t index : indexes) {
    by_size[std::min(At(candidates, index).num_slots, num_needed)].push_back(index);
  }
  std::vector<int32_t> useful;
  for (auto& [size, gangs] : by_size) {
    const auto is_cheaper = [&](int32_t a, int32_t b) {
      const VictimCandidate& x = At(candidates, a);
      const VictimCandidate& y = At(candidates, b);
      return std::tie(x.lost_millis, x.num_slots, y.start, x.id) < std::tie(y.lost_millis, y.num_slots, x.start, y.id);
    };
    const size_t num_enough = std::min(gangs.size(), static_cast<size_t>((num_needed + size - 1) / size));
    const auto end = gangs.begin() + static_cast<std::ptrdiff_t>(num_enough);
    if (end != gangs.end()) std::nth_element(gangs.begin(), end, gangs.end(), is_cheaper);
    gangs.erase(end, gangs.end());
    std::sort(gangs.begin(), gangs.end(), is_cheaper);
    useful.insert(useful.end(), gangs.begin(), gangs.end());
  }
  return useful;
}

// The cheapest of `indexes` that have at least `num_needed` slots; together they do. Dynamic programming: what covering
// n slots costs with the first k gangs.
std::vector<int32_t> CheapestCover(const Candidates& candidates, const std::vector<int32_t>& indexes,
                                   int64_t num_needed) {
  const std::vector<int32_t> useful = DropUseless(candidates, indexes, num_needed);
  const auto width = static_cast<size_t>(num_needed) + 1;
  const Cost impossible{INT64_MAX, 0, 0};
  std::vector<Cost> costs(width, impossible);
  costs[0] = {};
  std::vector<bool> is_taken(useful.size() * width);
  for (size_t k = 0; k < useful.size(); ++k) {
    const VictimCandidate& candidate = At(candidates, useful[k]);
    for (size_t n = width; n-- > 1;) {
      const int64_t rest = std::max<int64_t>(0, static_cast<int64_t>(n) - candidate.num_slots);
      const Cost& before = costs[static_cast<size_t>(rest)];
      if (before.lost_millis == INT64_MAX) continue;
      const Cost cost{before.lost_millis + candidate.lost_millis, before.num_gangs + 1,
                      before.num_slots + candidate.num_slots};
      if (!(cost < costs[n])) continue;
      costs[n] = cost;
      is_taken[k * width + n] = true;
    }
  }
  std::vector<int32_t> chosen;
  int64_t num_left = num_needed;
  for (size_t k = useful.size(); k-- > 0 && num_left > 0;) {
    if (!is_taken[k * width + static_cast<size_t>(num_left)]) continue;
    chosen.push_back(useful[k]);
    num_left = std::max<int64_t>(0, num_left - At(candidates, useful[k]).num_slots);
  }
  return chosen;
}

// The same without the promise of being the cheapest, for any number of slots.
std::vector<int32_t> CheapCover(const Candidates& candidates, std::vector<int32_t> indexes, int64_t num_needed) {
  std::sort(indexes.begin(), indexes.end(), [&](int32_t a, int32_t b) {
    const VictimCandidate& x = At(candidates, a);
    const VictimCandidate& y = At(candidates, b);
    const double x_loss = static_cast<double>(x.lost_millis) / static_cast<double>(x.num_slots);
    const double y_loss = static_cast<double>(y.lost_millis) / static_cast<double>(y.num_slots);
    return std::tie(x_loss, y.start, x.id) < std::tie(y_loss, x.start, y.id);
  });
  int64_t num_slots = 0;
  size_t num_taken = 0;
  while (num_slots < num_needed) num_slots += At(candidates, indexes[num_taken++]).num_slots;
  indexes.resize(num_taken);
  std::sort(indexes.begin(), indexes.end(), [&](int32_t a, int32_t b) {
    const VictimCandidate& x = At(candidates, a);
    const VictimCandidate& y = At(candidates, b);
    return std::tie(y.lost_millis, x.id) < std::tie(x.lost_millis, y.id);
  });
  std::vector<int32_t> chosen;
  for (const int32_t index : indexes) {
    const int64_t without = num_slots - At(candidates, index).num_slots;
    if (without >= num_needed) {
      num_slots = without;
    } else {
      chosen.push_back(index);
    }
  }
  return chosen;
}

}  // namespace

std::vector<int32_t> ChooseVictims(const std::vector<VictimCandidate>& candidates, int64_t num_missing,
                                   int64_t exact_missing_max) {
  std::map<int32_t, std::vector<int32_t>> by_priority;
  int64_t num_slots = 0;  // of those that are left to choose from
  for (size_t i = 0; i < candidates.size(); ++i) {
    by_priority[candidates[i].priority].push_back(static_cast<int32_t>(i));
    num_slots += candidates[i].num_slots;
  }
  std::vector<int32_t> victims;
  if (num_slots < num_missing) return victims;
  // From above: of each priority only what those below cannot give.
  for (auto it = by_priority.rbegin(); it != by_priority.rend() && num_missing > 0; ++it) {
    num_slots -= SlotsOf(candidates, it->second);
    const int64_t num_needed = num_missing - num_slots;
    if (num_needed <= 0) continue;
    const std::vector<int32_t> chosen = num_needed <= exact_missing_max
                                            ? CheapestCover(candidates, it->second, num_needed)
                                            : CheapCover(candidates, it->second, num_needed);
    num_missing -= SlotsOf(candidates, chosen);
    victims.insert(victims.end(), chosen.begin(), chosen.end());
  }
  std::sort(victims.begin(), victims.end());
  return victims;
}

}  // namespace ursa
