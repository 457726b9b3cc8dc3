#include "client/slurm/squeue.h"

#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/ids.h"
#include "base/status_macros.h"

namespace ursa::slurm {
namespace {

// Fixed widths, which cut what is longer, and a bar between them. The comment is last and ours.
constexpr char kFormat[] = "JobID:20|,State:20|,Reason:100|,exit_code:12|,Comment:60";
constexpr size_t kNumFields = 5;

struct Meaning {
  Job::State state;
  bool failed = false;
};

// The job states of squeue(1).
std::optional<Meaning> MeaningOf(const std::string& state) {
  static const auto* const kStates = new std::map<std::string, Meaning>{
      {"PENDING", {Job::State::kPending}},       {"CONFIGURING", {Job::State::kPending}},  // its nodes boot
      {"REQUEUED", {Job::State::kPending}},      {"REQUEUE_FED", {Job::State::kPending}},
      {"REQUEUE_HOLD", {Job::State::kPending}},  {"SPECIAL_EXIT", {Job::State::kPending}},
      {"RESV_DEL_HOLD", {Job::State::kPending}}, {"RUNNING", {Job::State::kRunning}},
      {"RESIZING", {Job::State::kRunning}},      {"SIGNALING", {Job::State::kRunning}},
      {"STAGE_OUT", {Job::State::kRunning}},     {"STOPPED", {Job::State::kRunning}},
      {"SUSPENDED", {Job::State::kRunning}},     {"COMPLETING", {Job::State::kEnding}},
      {"COMPLETED", {Job::State::kEnded}},       {"CANCELLED", {Job::State::kEnded}},
      {"DEADLINE", {Job::State::kEnded}},        {"PREEMPTED", {Job::State::kEnded}},
      {"REVOKED", {Job::State::kEnded}},         {"TIMEOUT", {Job::State::kEnded}},
      {"BOOT_FAIL", {Job::State::kEnded, true}}, {"FAILED", {Job::State::kEnded, true}},
      {"NODE_FAIL", {Job::State::kEnded, true}}, {"OUT_OF_MEMORY", {Job::State::kEnded, true}},
  };
  const auto it = kStates->find(state);
  if (it == kStates->end()) return std::nullopt;
  return it->second;
}

// `wait_status` as of wait(2); Slurm's own error numbers stand there too.
std::string ExitText(const std::string& wait_status) {
  int status = 0;
  if (!absl::SimpleAtoi(wait_status, &status)) return absl::StrCat("exit code ", wait_status);
  if ((status & 0xff) == 0) return absl::StrCat("exit code ", status >> 8);
  return status < 128 ? absl::StrCat("signal ", status) : absl::StrCat("status ", status);
}

absl::StatusOr<Job> ParseLine(const std::string& line) {
  std::vector<std::string> fields = absl::StrSplit(line, absl::MaxSplits('|', kNumFields - 1));
  Job job;
  for (std::string& field : fields) absl::StripAsciiWhitespace(&field);
  if (fields.size() != kNumFields || !absl::SimpleAtoi(fields[0], &job.id))
    return absl::InternalError(absl::StrCat("squeue: cannot read the line \"", line, "\""));
  const std::optional<Meaning> meaning = MeaningOf(fields[1]);
  if (!meaning)
    return absl::InternalError(absl::StrCat("squeue: job ", job.id, " has the unknown state \"", fields[1], "\""));
  job.state = meaning->state;
  job.failed = meaning->failed;
  job.detail = fields[2];
  if (job.state == Job::State::kEnded)
    job.detail = absl::StrCat(fields[1], job.failed ? absl::StrCat(", ", fields[2], ", ", ExitText(fields[3])) : "");
  for (const absl::string_view word : absl::StrSplit(fields[4], ' ')) {
    const std::pair<std::string, std::string> part = absl::StrSplit(word, absl::MaxSplits('=', 1));
    if (part.first == "slots" && absl::SimpleAtoi(part.second, &job.slots)) continue;
    if (part.first == "worker" && WorkerId::Parse(part.second)) job.worker = part.second;
  }
  if (job.slots <= 0)
    return absl::InternalError(absl::StrCat("squeue: job ", job.id, " has our name, and the comment \"", fields[4],
                                            "\" instead of \"", JobComment(1, ""), "\""));
  return job;
}

}  // namespace

std::string JobComment(int slots, std::string_view worker) {
  return absl::StrCat("slots=", slots, worker.empty() ? "" : absl::StrCat(" worker=", std::string(worker)));
}

std::vector<std::string> SqueueWords(const std::string& job_name) {
  return {"squeue", "--noheader", "--me", "--states=all", "--name=" + job_name, absl::StrCat("--Format=", kFormat)};
}

absl::StatusOr<std::vector<Job>> ParseSqueue(std::string_view text) {
  std::vector<Job> jobs;
  for (const absl::string_view line : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    URSA_ASSIGN_OR_RETURN(Job job, ParseLine(std::string(line)));
    jobs.push_back(std::move(job));
  }
  return jobs;
}

}  // namespace ursa::slurm
