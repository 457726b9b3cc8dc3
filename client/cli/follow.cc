#include "client/cli/follow.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

namespace ursa::cli {
namespace {

constexpr size_t kColumnWidth = 10;
constexpr size_t kTrialWidth = 8;

char interrupt_note[256];  // what a Ctrl-C says; filled before the handler is set

void OnInterrupt(int signal) {
  // Only async-signal-safe calls here.
  if (::write(STDERR_FILENO, interrupt_note, std::strlen(interrupt_note)) < 0) ::_exit(128 + signal);
  ::_exit(128 + signal);
}

void NoteOnInterrupt(const std::string& id) {
  const std::string note = absl::StrCat("\n", id, " goes on without you (hint: ursa experiment show ", id,
                                        "; ursa experiment cancel ", id, ")\n");
  std::strncat(interrupt_note, note.c_str(), sizeof(interrupt_note) - 1);
  struct sigaction action = {};
  action.sa_handler = &OnInterrupt;
  ::sigaction(SIGINT, &action, nullptr);
}

double MetricOr(const v1::EpochRow& row, const std::string& name, double otherwise) {
  const auto found = row.metrics().find(name);
  return found == row.metrics().end() ? otherwise : found->second;
}

}  // namespace

std::string StateWord(v1::Experiment::State state) {
  if (state == v1::Experiment::STATE_UNSPECIFIED) return "-";
  const std::string name = v1::Experiment::State_Name(state);
  return name.substr(std::min(name.size(), std::strlen("STATE_")));
}

void FollowTable::PrintHeader(const v1::Experiment& now) {
  columns_ = {"train_loss", "valid_loss"};
  for (const std::string& metric : now.spec().train().metrics()) {
    if (std::find(columns_.begin(), columns_.end(), metric) == columns_.end()) columns_.push_back(metric);
  }
  std::vector<std::string> header = {"epoch"};
  widths_ = {5};
  if (now.spec().has_searcher()) {
    header.insert(header.begin(), "trial");
    widths_.insert(widths_.begin(), kTrialWidth);
  }
  for (const std::string& column : columns_) {
    header.push_back(Printable(column));
    widths_.push_back(std::max(kColumnWidth, column.size()));
  }
  header.push_back("time");
  widths_.push_back(7);
  out_->Print(FixedRow(header, widths_) + "\n");
}

void FollowTable::PrintRow(const v1::EpochRow& row) {
  std::vector<std::string> cells = {absl::StrCat(row.epoch())};
  if (widths_.size() > columns_.size() + 2) cells.insert(cells.begin(), Printable(row.trial_id()));
  for (const std::string& column : columns_) {
    const auto found = row.metrics().find(column);
    cells.push_back(found == row.metrics().end() ? "-" : FormatMetric(found->second));
  }
  cells.push_back(FormatSeconds(MetricOr(row, "seconds", -1)));
  out_->Print(FixedRow(cells, widths_) + "\n");
}

void FollowTable::Update(const v1::Experiment& now) {
  const std::string id = Printable(now.experiment_id());
  if (now.restarts() > restarts_) {
    restarts_ = now.restarts();
    out_->Print(absl::StrCat(id, " restart ", restarts_, " of at most ", now.spec().max_restarts(),
                             now.reason().empty() ? "" : absl::StrCat(": ", Printable(now.reason())), "\n"));
  }
  const bool waits = now.state() == v1::Experiment::STATE_QUEUED || now.state() == v1::Experiment::STATE_PAUSED;
  const std::string state =
      absl::StrCat(id, " ", StateWord(now.state()),
                   waits && !now.reason().empty() ? absl::StrCat(": ", Printable(now.reason())) : "",
                   now.state() == v1::Experiment::STATE_RUNNING && now.resumed_from_step() > 0
                       ? absl::StrCat(", from step ", now.resumed_from_step())
                       : "");
  if (state != told_ && !HasEnded(now.state())) {
    told_ = state;
    out_->Print(state + "\n");
  }
  for (const v1::EpochRow& row : now.epochs()) {
    if (!rows_.emplace(row.trial_id(), row.epoch()).second) continue;
    if (rows_.size() == 1) PrintHeader(now);
    PrintRow(row);
  }
  if (now.state() != v1::Experiment::STATE_RUNNING) {
    progress_.reset();
  } else if (now.num_steps() > 0) {
    if (progress_ == nullptr) progress_ = std::make_unique<Progress>(out_, "training", "steps", Progress::Unit::kCount);
    progress_->Update(now.step(), now.num_steps());
  }
}

absl::StatusOr<v1::Experiment> FollowExperiment(Client* client, const v1::Experiment& experiment, Output* out) {
  NoteOnInterrupt(experiment.experiment_id());
  FollowTable table(out);
  URSA_ASSIGN_OR_RETURN(v1::Experiment last, client->WatchExperiment(experiment.name(), [&](const v1::Experiment& now) {
    table.Update(now);
  }));
  ::signal(SIGINT, SIG_DFL);
  return last;
}

}  // namespace ursa::cli
