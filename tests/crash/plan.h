// Which kills are made in which storm, from the points that the programs say they have.
#ifndef URSA_TESTS_CRASH_PLAN_H_
#define URSA_TESTS_CRASH_PLAN_H_

#include <string>
#include <vector>

#include "base/rng.h"
#include "tests/crash/cluster.h"
#include "tests/crash/storm.h"

namespace ursa::crash {

// Of the very first starts in an empty folder: what is passed then and never again.
Storm::Kills FirstKills();

// While a worker works: the points of worker and tasks, those of the coordinator that only work makes it pass, and
// kills at random moments.
Storm::Kills WorkKills(const Cluster& cluster, Rng* rng);

// While there are only many small changes: all other points of the coordinator, and kills at random moments.
Storm::Kills ChangeKills(const Cluster& cluster, Rng* rng);

// Of the coordinator's orderly end.
Kill EndKill();

// Of `ursa up`, in the order in which one start after the other comes to them.
std::vector<Kill> UpKills();

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_PLAN_H_
