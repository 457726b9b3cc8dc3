#include "client/slurm/batch_job.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/digest.h"
#include "client/slurm/squeue.h"

namespace ursa::slurm {
namespace {

constexpr size_t kServerDigits = 8;  // of its hash, in a job's name

// Beyond the folder and the worker's command line, which come before it.
//
// Slurm sends SIGTERM in two ways: to this script alone (`--signal=B:TERM`, `scancel --batch`), and to all processes of
// the job (plain scancel, preemption). The worker must get it once: it takes the second as an order to end at once. The
// canary tells: it is dead when Slurm has signalled all.
constexpr char kScriptBody[] = R"sh(
sleep infinity & canary=$!
"${command[@]}" & worker=$!
trap 'sleep 1; if kill -0 "$canary" 2>/dev/null; then kill -TERM "$worker" 2>/dev/null; fi' TERM
trap 'kill "$canary" 2>/dev/null; rm -rf "$dir"' EXIT

until [ -s "$dir/worker/worker.id" ]; do
  kill -0 "$worker" 2>/dev/null || break
  sleep 0.5
done
if [ -s "$dir/worker/worker.id" ]; then
  scontrol update JobId="$SLURM_JOB_ID" Comment="$comment worker=$(cat "$dir/worker/worker.id")" || {
    echo "scontrol cannot tell Slurm which worker this job runs: it ends" >&2
    kill -TERM "$worker"
  }
fi
# A signal ends `wait` too.
while wait "$worker"; status=$?; [ "$status" -gt 128 ] && kill -0 "$worker" 2>/dev/null; do :; done
exit "$status"
)sh";

}  // namespace

std::string ShellQuote(std::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(absl::string_view(text.data(), text.size()), {{"'", "'\\''"}}), "'");
}

std::string JobName(std::string_view pool, std::string_view server) {
  return absl::StrCat("ursa-", std::string(pool), "-", Sha256Hex(server).substr(0, kServerDigits));
}

std::string OutputFile(const std::string& log_dir, std::string_view job_id) {
  return absl::StrCat(log_dir, "/ursa-worker-", std::string(job_id), ".log");
}

std::vector<std::string> SbatchWords(const BatchJobOptions& options) {
  std::vector<std::string> words = {
      "sbatch",
      "--parsable",
      "--job-name=" + JobName(options.pool, options.server),
      "--comment=" + JobComment(options.slots, ""),
      "--no-requeue",         // a job that comes back would still name its first worker
      "--signal=B:TERM@150",  // before the time limit: ursa-worker gives tasks 120 s to checkpoint
      "--nodes=1",
      "--ntasks=1",
      "--output=" + OutputFile(options.log_dir, "%j"),
      absl::StrCat(options.kind == "cuda" ? "--gres=gpu:" : "--cpus-per-task=", options.slots),
  };
  if (!options.partition.empty()) words.push_back("--partition=" + options.partition);
  if (!options.account.empty()) words.push_back("--account=" + options.account);
  words.insert(words.end(), options.sbatch.begin(), options.sbatch.end());
  return words;
}

std::string BatchScript(const BatchJobOptions& options) {
  std::string command = ShellQuote(options.worker_program) + " --dir \"$dir\"";
  const auto add = [&command](const char* flag, const std::string& value) {
    if (!value.empty()) absl::StrAppend(&command, " ", flag, " ", ShellQuote(value));
  };
  add("--server", options.server);
  add("--token_file", options.token_file);
  add("--ca_file", options.ca_file);
  add("--slots", absl::StrCat(options.slots));
  add("--kind", options.kind);
  add("--fabric", options.fabric);
  add("--pool", options.pool);
  return absl::StrCat("#!/bin/bash\n# A worker of Ursa, started by `ursa cluster slurm`.\nset -u\numask 077\n",
                      "dir=$(mktemp -d \"${TMPDIR:-/tmp}/ursa-worker-$SLURM_JOB_ID.XXXXXX\") || exit 1\n",
                      "comment=", ShellQuote(JobComment(options.slots, "")), "\ncommand=(", command, ")\n",
                      kScriptBody);
}

}  // namespace ursa::slurm
