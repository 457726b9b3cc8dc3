#include "tests/simulation/planted_bugs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/planted_bug.h"
#include "tests/simulation/simulation.h"

namespace ursa {

int planted_bug = 0;

int PlantedBugNumber(const char* name) {
  const std::vector<sim::PlantedBug>& bugs = sim::AllPlantedBugs();
  for (size_t i = 0; i < bugs.size(); ++i) {
    if (std::strcmp(bugs[i].name, name) == 0) return static_cast<int>(i) + 1;
  }
  URSA_CHECK(false) << "planted bug \"" << name << "\": the table does not have it";
  return 0;
}

namespace sim {
namespace {

// What the hunting process says: the seed that it runs now, then how that failed.
void HuntHere(int pipe) {
  for (uint64_t seed = 1;; ++seed) {
    SimulationOptions options;
    options.seed = seed;
    const std::string begin = absl::StrCat("seed ", seed, "\n");
    if (write(pipe, begin.data(), begin.size()) < 0) _exit(1);
    const SimulationResult result = RunSimulation(options);
    if (result.failure.empty()) continue;
    const std::string end = absl::StrCat("found ", result.failure, "\n");
    if (write(pipe, end.data(), end.size()) < 0) _exit(1);
    _exit(0);
  }
}

std::string ReadAll(int pipe) {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(pipe, buffer, sizeof(buffer))) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}

}  // namespace

const std::vector<PlantedBug>& AllPlantedBugs() {
  static const std::vector<PlantedBug>* const kBugs = new std::vector<PlantedBug>{
      {"skip_sync", "records are written without a sync"},
      {"tell_before_durable", "replies and messages leave before the write"},
      {"reorder_commit", "the groups of one batch are written in reverse"},
      {"lose_write", "one group in 64 is not written, its effects happen"},
      {"break_audit_chain", "an audit row names another hash than the one before it"},
      {"keep_load", "a slot stays taken in the index of loads"},
      {"reuse_epoch", "a gang starts again under its old fencing epoch"},
      {"drop_fencing", "what a stale epoch says is taken"},
      {"release_early", "a rank's slot is free when it says that it is done, not when it is gone"},
      {"any_rank_completes", "any rank's word completes a training"},
      {"forget_restarts", "restarts are not counted"},
      {"ignore_pause", "a paused trial is queued"},
      {"best_without_model", "the best trial of a search may have no checkpoint"},
      {"keep_lost_ranks", "the ranks of a lost worker stay"},
      {"wait_for_the_unseen", "a rank whose order its agent never saw is waited for"},
      {"keep_lost_aux_tasks", "the auxiliary task of a lost worker stays"},
      {"forget_leases", "after a start nobody has a lease"},
      {"short_lease", "a worker is lost after a quarter of its lease"},
      {"blame_for_own_pause", "a coordinator that stood still counts all workers as lost"},
      {"use_drained", "a drained worker is used"},
      {"ack_early", "events are acknowledged before they are durable"},
      {"forget_answers", "the first answer to a request is not kept"},
      {"forget_refusals", "an answer that is a refusal is not kept"},
      {"delete_what_is_needed", "a blob to which something refers again is deleted"},
      {"store_what_is_deleted", "an upload does not wait for the deletion of its blob"},
      {"delete_at_start", "what was told before a restart does not keep a blob"},
      {"count_twice", "a rendezvous ADD that is asked again counts again"},
      {"reform_without_state", "a gang is re-formed although no rank that is left has the state"},
      {"ignore_lost_group", "that a rank has lost its group is not heard"},
      {"never_tell_reform", "ranks are not told of the newer group"},
      {"forget_places", "after a start the scheduler does not know what runs where"},
      {"drop_what_is_in_flight", "an acknowledgement drops what was sent after it"},
      {"never_send_again", "what a broken stream lost is not sent again"},
      {"report_before_upload", "a checkpoint is reported before its bytes are uploaded"},
      {"share_slots", "a rank starts on a slot whose process has not ended"},
      {"start_again", "a rank that has ended starts again at the same epoch"},
      {"leave_orphans", "a process that nobody wants goes on"},
  };
  return *kBugs;
}

Hunt HuntBug(const PlantedBug& bug, absl::Duration limit) {
  int pipes[2];
  URSA_CHECK(pipe(pipes) == 0);
  const absl::Time begin = absl::Now();
  const pid_t child = fork();
  URSA_CHECK(child >= 0);
  if (child == 0) {
    close(pipes[0]);
    planted_bug = PlantedBugNumber(bug.name);
    alarm(static_cast<unsigned>(absl::ToInt64Seconds(limit)));
    HuntHere(pipes[1]);
  }
  close(pipes[1]);
  const std::string said = ReadAll(pipes[0]);
  close(pipes[0]);
  int status = 0;
  URSA_CHECK(waitpid(child, &status, 0) == child);
  Hunt hunt;
  hunt.time = absl::Now() - begin;
  const size_t last_seed = said.rfind("seed ");
  if (last_seed != std::string::npos) hunt.seed = std::strtoull(said.c_str() + last_seed + 5, nullptr, 10);
  if (const size_t found = said.find("found "); found != std::string::npos) {
    hunt.is_found = true;
    hunt.how = said.substr(found + 6, said.size() - found - 7);
  } else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM) {
    hunt.is_found = true;
    hunt.how = WIFSIGNALED(status) ? absl::StrCat("the process died by signal ", WTERMSIG(status))
                                   : absl::StrCat("the process ended with ", WEXITSTATUS(status));
  }
  return hunt;
}

}  // namespace sim
}  // namespace ursa
