// What squeue says of our jobs.
#ifndef URSA_CLIENT_SLURM_SQUEUE_H_
#define URSA_CLIENT_SLURM_SQUEUE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/slurm/plan.h"

namespace ursa::slurm {

// What a job's comment says: "slots=4" at first, "slots=4 worker=w3" once its worker has an id.
std::string JobComment(int slots, std::string_view worker);

// The command that lists the jobs of this user with this name, those included that ended a little while ago.
std::vector<std::string> SqueueWords(const std::string& job_name);

// Its output. Errors: INTERNAL with the line that is not understood, or the state that is not known.
absl::StatusOr<std::vector<Job>> ParseSqueue(std::string_view text);

}  // namespace ursa::slurm

#endif  // URSA_CLIENT_SLURM_SQUEUE_H_
