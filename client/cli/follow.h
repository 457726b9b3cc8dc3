// What `ursa experiment create --follow` shows while an experiment runs.
#ifndef URSA_CLIENT_CLI_FOLLOW_H_
#define URSA_CLIENT_CLI_FOLLOW_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/output.h"
#include "client/lib/client.h"
#include "ursa/v1/experiments.pb.h"

namespace ursa::cli {

// "RUNNING", as in JSON.
std::string StateWord(v1::Experiment::State state);

// A live table, one row an epoch: of a search the trial, epoch, train_loss, valid_loss, the recipe's metrics, time.
// Lines between the rows tell of changes of state and restarts; below, on a terminal, a bar. Borrows the output. Not
// thread-safe.
class FollowTable {
 public:
  explicit FollowTable(Output* out) : out_(out) {}

  // Shows what has changed since the last call.
  void Update(const v1::Experiment& now);

 private:
  void PrintHeader(const v1::Experiment& now);
  void PrintRow(const v1::EpochRow& row);

  Output* out_;
  std::vector<std::string> columns_;
  std::vector<size_t> widths_;
  std::string told_;                                // the last line on the state
  std::set<std::pair<std::string, int32_t>> rows_;  // shown: trial, epoch
  int32_t restarts_ = 0;
  std::unique_ptr<Progress> progress_;
};

// Follows until the experiment has ended, and tells how. Returns its last state. Ctrl-C leaves it running and says so.
absl::StatusOr<v1::Experiment> FollowExperiment(Client* client, const v1::Experiment& experiment, Output* out);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_FOLLOW_H_
