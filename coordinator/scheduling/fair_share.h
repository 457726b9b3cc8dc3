// How much of a pool everybody has used of late, and who comes next.
#ifndef URSA_COORDINATOR_SCHEDULING_FAIR_SHARE_H_
#define URSA_COORDINATOR_SCHEDULING_FAIR_SHARE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "coordinator/scheduling/gang.h"

namespace ursa {

// Slot-seconds used, each counting half after every half-life, as of `time`.
struct DecayedUse {
  double slot_seconds = 0;
  absl::Time time = absl::InfinitePast();

  friend bool operator==(const DecayedUse& a, const DecayedUse& b) {
    return a.slot_seconds == b.slot_seconds && a.time == b.time;
  }
};

// The use as of `now` of one who has held `num_slots` since `use.time`: what was there has decayed, and what was held
// is added, decayed too. With k = ln 2 / half-life: u' = u exp(-k dt) + n (1 - exp(-k dt)) / k. A `now` before use.time
// changes nothing.
DecayedUse Charge(const DecayedUse& use, int64_t num_slots, absl::Time now, absl::Duration half_life);

// How many slots, held for ever, come to that use: k u.
double AverageSlots(const DecayedUse& use, absl::Duration half_life);

// Users and workspaces of one pool with their use and the slots they hold. The score of a user is
//   average slots of late + slots held now,
// so that one start counts at once, and past use for as long as it is remembered; a workspace's score is the sum of
// those of its users. Less comes first: the workspace, then in it the user. A value; scores are whole numbers
// (millionths of a slot), so the same deltas in another order give the same scores.
//
// Users are never forgotten, but their use is: once they hold nothing, and what is left rounds to 0 in a score (an
// average of less than half a millionth of a slot), it is set to none. That is 21 half-lives after one slot was held
// for long, 13 after an hour of it (half-life 7 days); no order depends on it any more.
class FairShares {
 public:
  static constexpr int64_t kMicros = 1'000'000;

  struct User {
    Owner owner;
    int32_t workspace = 0;
    int64_t num_held = 0;  // slots
    DecayedUse use;
    int64_t average_micros = 0;  // of AverageSlots as of the order's time
    int32_t num_waiting = 0;     // gangs
    size_t order_index = 0;      // of what waits: where it stands in its workspace's order
    bool changed = false;        // its use has, since TakeChanged
    int64_t score() const { return average_micros + SlotsScore(num_held); }
  };
  struct Workspace {
    std::string name;
    int64_t num_held = 0;
    int64_t score = 0;
    int32_t num_waiting = 0;  // users that have gangs waiting
    size_t order_index = 0;
  };
  // Score and index, ascending.
  using Order = std::vector<std::pair<int64_t, int32_t>>;

  // What holding so many slots adds to a score.
  static int64_t SlotsScore(int64_t num_slots) { return num_slots * kMicros; }

  explicit FairShares(absl::Duration half_life);

  // The index of a user, who is added if new.
  int32_t IndexOf(const Owner& owner);

  // The user holds so many slots more (or less) from `now` on.
  void AddHeld(int32_t user, int64_t num_slots, absl::Time now);
  // What a record says, or nothing if that is to be forgotten. To be called after all AddHeld when shares are built
  // anew.
  void SetUse(int32_t user, const DecayedUse& use);
  // Only users of whom something waits are in the order.
  void AddWaiting(int32_t user, int32_t num_gangs);
  // Scores are as of this time from now on.
  void SetOrderTime(absl::Time time);

  // Users whose use has been charged or forgotten (then it is equal to DecayedUse()) since the last call, in the order
  // in which that began.
  std::vector<int32_t> TakeChanged();

  const User& user(int32_t index) const { return users_[static_cast<size_t>(index)]; }
  const Workspace& workspace(int32_t index) const { return workspaces_[static_cast<size_t>(index)]; }
  int32_t num_users() const { return static_cast<int32_t>(users_.size()); }
  const Order& workspaces_in_order() const { return order_; }
  const Order& users_in_order(int32_t workspace) const { return user_orders_[static_cast<size_t>(workspace)]; }

  std::string DebugExport() const;

 private:
  // Of one who has used that and holds so many slots, as of the order's time.
  int64_t AverageMicros(const DecayedUse& use, int64_t num_held) const;
  void MarkChanged(int32_t user);
  // Forgets a use that counts for nothing.
  void ForgetIfNothing(int32_t user);
  // Gives a user new values, with which the orders go along.
  void Update(int32_t user, int64_t num_held, int64_t average_micros);

  double decay_rate_;  // ln 2 / half-life in seconds
  absl::Time order_time_ = absl::InfinitePast();
  std::vector<User> users_;
  std::vector<Workspace> workspaces_;
  std::vector<Order> user_orders_;  // by workspace
  Order order_;                     // of workspaces
  std::vector<int32_t> changed_;
  absl::flat_hash_map<Owner, int32_t> user_indexes_;
  std::map<std::string, int32_t> workspace_indexes_;
};

}  // namespace ursa

#endif  // URSA_COORDINATOR_SCHEDULING_FAIR_SHARE_H_
