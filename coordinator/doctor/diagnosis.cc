#include "coordinator/doctor/diagnosis.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ursa {
namespace {

constexpr size_t kNamesMax = 4;  // ranks or workers that a sentence names

using Ranks = std::vector<const RankReport*>;

// Grows with each collective entered, and with each left.
int64_t Progress(const RankReport& rank) { return 2 * rank.collectives + (rank.in_collective ? 0 : 1); }

std::string Since(absl::Time since, absl::Time now) {
  const int64_t seconds = absl::ToInt64Seconds(now - since);
  const std::string length = seconds < 120 ? absl::StrCat(seconds, " s") : absl::StrCat(seconds / 60, " min");
  return absl::StrCat("since ", absl::FormatTime("%H:%M:%S", since, absl::UTCTimeZone()), " UTC (", length, ")");
}

// "a, b, c, d and 3 more"
std::string Names(const std::vector<std::string>& names) {
  if (names.size() <= kNamesMax) return absl::StrJoin(names, ", ");
  return absl::StrCat(absl::StrJoin(names.begin(), names.begin() + kNamesMax, ", "), " and ", names.size() - kNamesMax,
                      " more");
}

std::string Who(const Ranks& ranks) {
  std::vector<std::string> numbers;
  std::vector<std::string> workers;
  std::set<std::string> seen;
  for (const RankReport* rank : ranks) {
    numbers.push_back(absl::StrCat(rank->rank));
    if (seen.insert(rank->worker).second) workers.push_back(rank->worker);
  }
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ", Names(numbers), " on ", Names(workers));
}

std::string Where(const RankReport& rank) {
  if (rank.in_collective) return absl::StrCat("is in ", rank.doing, " ", rank.collectives);
  return rank.doing;
}

std::string Position(const RankReport& rank) {
  std::string text = absl::StrCat(", at step ", rank.step);
  if (!rank.in_collective && rank.collectives > 0) absl::StrAppend(&text, ", after collective ", rank.collectives);
  return text;
}

std::string Waiting(const Ranks& others) {
  Ranks waiting;
  for (const RankReport* rank : others) {
    if (rank->in_collective) waiting.push_back(rank);
  }
  if (waiting.empty()) return "";
  std::vector<std::string> numbers;
  for (const RankReport* rank : waiting) numbers.push_back(absl::StrCat(rank->rank));
  return absl::StrCat(waiting.size() == 1 ? "; rank " : "; ranks ", Names(numbers),
                      waiting.size() == 1 ? " waits in " : " wait in ", waiting[0]->doing, " ",
                      waiting[0]->collectives);
}

std::string Sentence(const Ranks& late, const Ranks& others, absl::Time since, absl::Time now,
                     const DiagnosisOptions& options) {
  const RankReport& first = *late[0];
  if (now - first.heard > options.silence) {
    return absl::StrCat(
        Who(late), late.size() == 1 ? " is silent: its process does" : " are silent: their processes do", " not run ",
        Since(first.heard, now), "; when last heard of it ", Where(first), Position(first), Waiting(others));
  }
  if (others.empty() && late.size() > 1) {
    const bool same = std::all_of(late.begin(), late.end(), [&first](const RankReport* rank) {
      return rank->in_collective && rank->doing == first.doing;
    });
    if (same) {
      return absl::StrCat("all of ", Who(late), " are in ", first.doing, " ", first.collectives, " ", Since(since, now),
                          Position(first), ": the network between them does not move");
    }
    return absl::StrCat("all of ", Who(late), " stand still ", Since(since, now), "; rank ", first.rank, " ",
                        Where(first), Position(first));
  }
  if (others.empty()) return absl::StrCat(Who(late), " ", Where(first), " ", Since(first.since, now), Position(first));
  return absl::StrCat(Who(late), late.size() == 1 ? " is late: it " : " are late: the first ", Where(first), " ",
                      Since(first.since, now), Position(first), Waiting(others));
}

}  // namespace

std::optional<Diagnosis> Diagnose(const std::vector<RankReport>& ranks, absl::Time now,
                                  const DiagnosisOptions& options) {
  if (ranks.empty()) return std::nullopt;
  Diagnosis diagnosis;
  diagnosis.since = absl::InfinitePast();
  int64_t least = Progress(ranks[0]);
  for (const RankReport& rank : ranks) {
    diagnosis.since = std::max(diagnosis.since, rank.since);
    least = std::min(least, Progress(rank));
  }
  if (now - diagnosis.since < options.quiet) return std::nullopt;
  Ranks late;
  Ranks others;
  for (const RankReport& rank : ranks) (Progress(rank) == least ? late : others).push_back(&rank);
  // Among equals, a process that does not run is the one that the others wait for.
  const auto silent = std::stable_partition(
      late.begin(), late.end(), [&](const RankReport* rank) { return now - rank->heard > options.silence; });
  if (silent != late.begin()) {
    others.insert(others.end(), silent, late.end());
    late.erase(silent, late.end());
  }
  for (const RankReport* rank : late) diagnosis.late.push_back(rank->rank);
  diagnosis.text = Sentence(late, others, diagnosis.since, now, options);
  return diagnosis;
}

}  // namespace ursa
