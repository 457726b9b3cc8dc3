// Slurm, by its own programs: squeue, sbatch, scancel.
#ifndef URSA_CLIENT_SLURM_SLURM_H_
#define URSA_CLIENT_SLURM_SLURM_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/slurm/batch_job.h"
#include "client/slurm/plan.h"

namespace ursa::slurm {

// The jobs of one pool. Keeps nothing: what there is, squeue says. Not thread-safe; calls block for at most
// `call_timeout`. Errors of every call: as RunProgram.
class Slurm {
 public:
  explicit Slurm(BatchJobOptions job, absl::Duration call_timeout = absl::Seconds(60))
      : job_(std::move(job)), call_timeout_(call_timeout) {}

  const BatchJobOptions& job() const { return job_; }

  // Those that failed say, besides, the last line of their output where this machine sees the file.
  absl::StatusOr<std::vector<Job>> ListJobs();

  // Returns the job's id.
  absl::StatusOr<int64_t> Submit();

  // SIGTERM to the script alone.
  absl::Status AskToEnd(int64_t job);

  absl::Status Cancel(int64_t job);

 private:
  const BatchJobOptions job_;
  const absl::Duration call_timeout_;
};

}  // namespace ursa::slurm

#endif  // URSA_CLIENT_SLURM_SLURM_H_
