// One rank of a small training run, for data_parallel_process_test: training_rank RANK WORLD FOLDER [--die-at=STEP]
// [--stop-at=STEP] [--resume]. Writes FOLDER/result-RANK: the model's SHA-256, then the points. Exit status 3: the run
// returned an error, which goes to standard error.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "worker/comm/gloo_collective.h"
#include "worker/comm/local_rendezvous.h"
#include "worker/train/memory.h"
#include "worker/train/trainer.h"
#include "worker/train/training_testing.h"

namespace ursa {
namespace {

// Keeps the last checkpoint in files.
class FolderSink : public CheckpointSink {
 public:
  explicit FolderSink(std::string folder) : folder_(std::move(folder)) {}
  absl::Status Write(Checkpoint checkpoint) override {
    URSA_CHECK_OK(WriteFileAtomically(folder_ + "/model", checkpoint.model));
    return WriteFileAtomically(folder_ + "/state", checkpoint.state);
  }

 private:
  std::string folder_;
};

int64_t Flag(int argc, char** argv, const std::string& name) {
  for (int i = 4; i < argc; ++i) {
    if (std::strncmp(argv[i], name.c_str(), name.size()) == 0) return std::atoll(argv[i] + name.size());
  }
  return -1;
}

int Main(int argc, char** argv) {
  URSA_CHECK(argc >= 4);
  URSA_CHECK_OK(KeepMemoryInProcess());
  SetComputeThreads(1);
  const std::string folder = argv[3];
  GlooOptions gloo;
  gloo.rank = std::atoi(argv[1]);
  gloo.world_size = std::atoi(argv[2]);
  auto collective = MakeGlooCollective(std::make_shared<FileRendezvousStore>(folder + "/rendezvous"), gloo);
  URSA_CHECK_OK(collective.status());
  const auto model = MakeSmallNet(4, /*with_norms=*/true, /*dropout=*/0.3);
  TensorBatchSource batches(MakeImages(42, 21, 4, 12), gloo.rank, gloo.world_size);
  RunRecord record;
  FolderSink sink(folder);
  const int64_t die_at = Flag(argc, argv, "--die-at="), stop_at = Flag(argc, argv, "--stop-at=");
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = &batches;
  parts.collective = collective->get();
  parts.observer = &record;
  parts.checkpoints = &sink;
  int64_t polls = 0;
  parts.control = [&] {
    ++polls;
    if (polls == die_at) _exit(9);
    return polls == stop_at ? TrainControl::kCheckpointAndStop : TrainControl::kContinue;
  };
  FineTuneOptions fine_tune;
  fine_tune.epochs = 2;
  fine_tune.base_lr = 2e-2;
  TrainerOptions options;
  options.phases = FineTunePhases(fine_tune);
  options.seed = 42;
  auto trainer = Trainer::Create(parts, options);
  URSA_CHECK_OK(trainer.status());
  if (Flag(argc, argv, "--resume") >= 0) {
    Checkpoint checkpoint;
    checkpoint.model = *ReadFile(folder + "/model");
    checkpoint.state = *ReadFile(folder + "/state");
    URSA_CHECK_OK((*trainer)->Restore(checkpoint));
  }
  const auto result = (*trainer)->Run();
  if (!result.ok()) {
    URSA_LOG(ERROR) << "rank " << gloo.rank << ": " << result.status();
    return 3;
  }
  const std::string text = Sha256Hex(StateBytes(*model)) + "\n" + record.PointsText();
  URSA_CHECK_OK(WriteFileAtomically(folder + "/result-" + argv[1], text));
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
