// Clients that work all the time, each with subjects of its own.
#ifndef URSA_TESTS_CRASH_WORKLOAD_H_
#define URSA_TESTS_CRASH_WORKLOAD_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "tests/crash/subject.h"

namespace ursa::crash {

// Runs some clients, each a thread that steps its subjects, so that calls of several meet in one batch of the
// committer. Only while it is paused may subjects be checked.
//
//   paused --Run(api)--> running --Pause--> paused
//
// A client whose call had an unknown outcome stops until the next Run, as the server has died. Owned and driven by one
// thread.
class Workload {
 public:
  // Makes the next subject of client `client_index`, or null if it shall have no new one now.
  using NewSubject = std::function<std::unique_ptr<Subject>(int client_index, Rng* rng)>;

  Workload(int num_clients, uint64_t seed, NewSubject new_subject);
  ~Workload();

  void Run(std::shared_ptr<Api> api);
  // Returns when no client is in a call. The calls of a dead server end by themselves.
  void Pause();

  // Paused. Checks the subjects: those with an unknown outcome, and of the others a random part of `share` (0..1).
  // UNAVAILABLE: the server died meanwhile; else a finding.
  absl::Status Check(Api* api, double share, Rng* rng);
  // The first finding of a client, or OK.
  absl::Status finding() const;

  // Paused. Whether no subject has anything left to do; new ones are made all the same by the next Run.
  bool IsIdle() const;
  // Paused. The names of those that have.
  std::string AtWork() const;
  // From here on no new subjects are made.
  void StopNew() { makes_new_ = false; }
  // How many subjects each client works on by turns. To be called before the first Run.
  void SetAtWorkMax(size_t at_work_max) { at_work_max_ = at_work_max; }

  // Paused. What all subjects say.
  Tally tally() const;
  std::map<std::string, int> ExpectedAudit() const;
  size_t num_subjects() const;

 private:
  struct Client {
    std::vector<std::unique_ptr<Subject>> subjects;
    std::vector<Subject*> at_work;  // that are not done
    SeededRng rng{0};
    bool is_stuck = false;  // until the next Run
    std::thread thread;
  };

  void Loop(int client_index);
  bool StepOne(Client* client, int client_index, Api* api);

  const NewSubject new_subject_;
  std::atomic<bool> makes_new_{true};
  size_t at_work_max_ = 6;
  std::vector<Client> clients_;  // each is its thread's while running, the owner's while paused

  mutable absl::Mutex mu_;
  std::shared_ptr<Api> api_ ABSL_GUARDED_BY(mu_);  // null while paused
  int num_working_ ABSL_GUARDED_BY(mu_) = 0;       // clients that have taken api_
  bool is_ending_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status finding_ ABSL_GUARDED_BY(mu_);
};

}  // namespace ursa::crash

#endif  // URSA_TESTS_CRASH_WORKLOAD_H_
