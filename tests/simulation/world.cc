#include "tests/simulation/world.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"

namespace ursa::sim {
namespace {

constexpr size_t kLinesKept = 4096;

constexpr std::array<const char*, static_cast<size_t>(Fault::kCount)> kFaultNames = {
    "messages lost",
    "messages received again",
    "messages reordered",
    "messages later than a lease",
    "streams broken",
    "connections refused",
    "calls lost",
    "replies lost",
    "calls received again",
    "partitions",
    "agents killed",
    "agents paused",
    "machines replaced",
    "worker clocks skewed",
    "ranks failed",
    "ranks hung",
    "groups broken",
    "stops ignored",
    "starts failed",
    "blobs evicted",
    "coordinators killed",
    "coordinators paused",
    "deaths in a commit",
    "writes failed",
    "writes torn",
    "writes refused by a full disk",
    "unsynced writes forgotten",
    "disks full",
    "disks slow",
    "coordinator clocks jumped",
};

}  // namespace

const absl::Time World::kStart = absl::FromUnixSeconds(1'700'000'000);

const char* NameOf(Fault fault) { return kFaultNames[static_cast<size_t>(fault)]; }

World::World(uint64_t seed) : rng_(seed), lines_(kLinesKept) { failed_at_ = absl::InfiniteFuture(); }

absl::Duration World::Between(absl::Duration least, absl::Duration most) {
  return absl::Nanoseconds(Between(absl::ToInt64Nanoseconds(least), absl::ToInt64Nanoseconds(most)));
}

absl::Duration World::After(absl::Duration mean) {
  // To the nanosecond, so that the time does not depend on how a library rounds.
  const double draw = -std::log1p(-rng_.Uniform());
  return absl::Nanoseconds(static_cast<int64_t>(draw * static_cast<double>(absl::ToInt64Nanoseconds(mean))));
}

void World::At(absl::Time time, std::function<void()> event) {
  size_t slot = events_.size();
  if (free_slots_.empty()) {
    events_.push_back(std::move(event));
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
    events_[slot] = std::move(event);
  }
  heap_.push_back({std::max(time, now_), num_added_++, slot});
  std::push_heap(heap_.begin(), heap_.end(), Later());
}

bool World::Step() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later());
  const Entry entry = heap_.back();
  heap_.pop_back();
  now_ = entry.time;
  const std::function<void()> event = std::exchange(events_[entry.slot], nullptr);
  free_slots_.push_back(entry.slot);
  ++num_events_;
  event();
  return true;
}

void World::Trace(const char* what, int64_t a, int64_t b, int64_t c) {
  const auto mix = [this](uint64_t value) {
    trace_hash_ ^= value + 0x9e3779b97f4a7c15 + (trace_hash_ << 6) + (trace_hash_ >> 2);
    trace_hash_ *= 0xff51afd7ed558ccd;
    trace_hash_ ^= trace_hash_ >> 32;
  };
  mix(static_cast<uint64_t>(absl::ToInt64Nanoseconds(now_ - kStart)));
  for (std::string_view rest = what; !rest.empty();) {
    uint64_t letters = 0;
    const size_t size = std::min(rest.size(), sizeof(letters));
    std::memcpy(&letters, rest.data(), size);
    mix(letters);
    rest.remove_prefix(size);
  }
  mix(static_cast<uint64_t>(a));
  mix(static_cast<uint64_t>(b));
  mix(static_cast<uint64_t>(c));
  const Line line{now_, what, a, b, c};
  lines_[num_lines_++ % kLinesKept] = line;
  if (now_ >= print_from_) std::fprintf(stderr, "%s\n", ToString(line).c_str());
}

std::string World::ToString(const Line& line) {
  return absl::StrFormat("%12.6f %-28s %d %d %d", absl::ToDoubleSeconds(line.time - kStart), line.what, line.a, line.b,
                         line.c);
}

std::string World::LastTrace(size_t num_lines) const {
  std::string text;
  const size_t num_kept = std::min({num_lines, num_lines_, kLinesKept});
  for (size_t i = num_lines_ - num_kept; i < num_lines_; ++i) {
    absl::StrAppend(&text, ToString(lines_[i % kLinesKept]), "\n");
  }
  return text;
}

void World::Count(Fault fault, int64_t times) {
  if (times > 0) faults_[static_cast<size_t>(fault)] += times;
}

void World::Fail(std::string why) {
  if (failed()) return;
  failure_ = std::move(why);
  failed_at_ = now_;
}

void MachineClock::SleepUntil(absl::Time) { URSA_CHECK(false) << "a simulated machine may not sleep"; }

bool MachineClock::AwaitWithDeadline(absl::Mutex*, const absl::Condition&, absl::Time) {
  URSA_CHECK(false) << "a simulated machine may not wait";
  return false;
}

void MachineClock::SetRate(double rate) {
  const absl::Time now = Now();
  base_ = world_.now();
  offset_ = now - base_;
  rate_ = rate;
}

absl::Time MachineClock::ToWorld(absl::Time time) const {
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return time;
  absl::Time guess = base_ + (time - base_ - offset_) / rate_;
  while (FromWorld(guess) < time) guess += absl::Nanoseconds(1);
  return guess;
}

}  // namespace ursa::sim
