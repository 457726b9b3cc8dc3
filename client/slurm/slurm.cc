#include "client/slurm/slurm.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/run_program.h"
#include "base/status_macros.h"
#include "client/slurm/squeue.h"

namespace ursa::slurm {
namespace {

// Empty: there is none, or the file is not to be seen from here.
std::string LastLineOf(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return "";
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n', absl::SkipWhitespace());
  return lines.empty() ? "" : lines.back();
}

}  // namespace

absl::StatusOr<std::vector<Job>> Slurm::ListJobs() {
  URSA_ASSIGN_OR_RETURN(const std::string text,
                        RunProgram(SqueueWords(JobName(job_.pool, job_.server)), "", call_timeout_));
  URSA_ASSIGN_OR_RETURN(std::vector<Job> jobs, ParseSqueue(text));
  for (Job& job : jobs) {
    if (!job.failed) continue;
    const std::string path = OutputFile(job_.log_dir, absl::StrCat(job.id));
    const std::string said = LastLineOf(path);
    absl::StrAppend(&job.detail, said.empty() ? "" : ": ", said, " (", path, ")");
  }
  return jobs;
}

absl::StatusOr<int64_t> Slurm::Submit() {
  URSA_ASSIGN_OR_RETURN(const std::string text, RunProgram(SbatchWords(job_), BatchScript(job_), call_timeout_));
  // "17", or "17;CLUSTER".
  const std::vector<std::string> parts = absl::StrSplit(absl::StripAsciiWhitespace(text), ';');
  int64_t job = 0;
  if (!absl::SimpleAtoi(parts[0], &job))
    return absl::InternalError(absl::StrCat("sbatch: should print a job's id, printed \"", text, "\""));
  return job;
}

absl::Status Slurm::AskToEnd(int64_t job) {
  return RunProgram({"scancel", "--batch", "--signal=TERM", absl::StrCat(job)}, "", call_timeout_).status();
}

absl::Status Slurm::Cancel(int64_t job) {
  return RunProgram({"scancel", absl::StrCat(job)}, "", call_timeout_).status();
}

}  // namespace ursa::slurm
