// The Slurm job that runs a worker: how it is submitted, and its script. Pure.
#ifndef URSA_CLIENT_SLURM_BATCH_JOB_H_
#define URSA_CLIENT_SLURM_BATCH_JOB_H_

#include <string>
#include <string_view>
#include <vector>

namespace ursa::slurm {

// The files and the program must have these paths on Slurm's nodes too.
struct BatchJobOptions {
  std::string pool;          // of the worker
  std::string kind = "cpu";  // of its slots, cpu or cuda
  int slots = 1;
  std::string worker_program;       // absolute path of ursa-worker
  std::string server;               // the coordinator, as the worker calls it
  std::string token_file;           // absolute path
  std::string ca_file;              // absolute path; empty: the system's
  std::string fabric = "lo";        // network interface of collectives
  std::string log_dir;              // absolute path of the folder of the jobs' outputs
  std::string partition;            // empty: Slurm's default
  std::string account;              // empty: the user's default
  std::vector<std::string> sbatch;  // further arguments; the later of two that contradict holds
};

// The name by which a later process finds the jobs of this pool of this cluster.
std::string JobName(std::string_view pool, std::string_view server);

// The file of what a job prints.
std::string OutputFile(const std::string& log_dir, std::string_view job_id);

// The command that submits BatchScript(), which it reads from its standard input. It prints the job's id.
std::vector<std::string> SbatchWords(const BatchJobOptions& options);

// A bash script: makes a folder of its own, runs the worker there, tells Slurm the worker's id in the job's comment,
// hands on SIGTERM, removes the folder.
std::string BatchScript(const BatchJobOptions& options);

// `text` as one word of a shell.
std::string ShellQuote(std::string_view text);

}  // namespace ursa::slurm

#endif  // URSA_CLIENT_SLURM_BATCH_JOB_H_
