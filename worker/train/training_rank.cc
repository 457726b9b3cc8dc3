// One rank of a small training run, for data_parallel_process_test: training_rank RANK WORLD FOLDER [--die-at=STEP]
// [--freeze-at=STEP] [--stop-at=STEP] [--resume] [--groups=N] [--joins]. It goes on in up to N groups, one after the
// other, which meet in FOLDER/rendezvous/1, 2 ..; with --joins in the last one, as one that was started in the place of
// another. SIGUSR1 tells it that its group is over. The device is $URSA_TEST_DEVICE. Writes FOLDER/result-RANK: the
// model's SHA-256, then the points. Exit status 3: the run returned an error, which goes to standard error.
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/failure_cause.h"
#include "base/file.h"
#include "base/log.h"
#include "worker/comm/device.h"
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

std::string Setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

// Interrupts a group when SIGUSR1 comes, which must be blocked in all threads.
class SignalInterrupter {
 public:
  explicit SignalInterrupter(Collective* collective) {
    thread_ = std::thread([this, collective] {
      sigset_t signals;
      sigemptyset(&signals);
      sigaddset(&signals, SIGUSR1);
      int signal = 0;
      sigwait(&signals, &signal);
      if (!is_left_) collective->Interrupt();
    });
  }
  ~SignalInterrupter() {
    is_left_ = true;
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }

 private:
  std::atomic<bool> is_left_{false};
  std::thread thread_;
};

struct Place {
  std::string folder;
  int rank = 0, world_size = 0;
  at::Device device = at::Device(at::kCPU);
};

// Trains in the groups of those numbers, one after the other, until one has not lost a rank.
absl::Status RunInGroups(const Accelerator& accelerator, const Place& place, int64_t first_group, int64_t last_group,
                         Trainer* trainer) {
  absl::Status status;
  for (int64_t group = first_group; group <= last_group; ++group) {
    const std::string meeting = absl::StrCat(place.folder, "/rendezvous/", group);
    std::filesystem::create_directories(meeting);
    auto collective = accelerator.MakeCollective(std::make_shared<FileRendezvousStore>(meeting), place.rank,
                                                 place.world_size, place.device, "127.0.0.1", absl::Minutes(2));
    URSA_CHECK_OK(collective.status());
    trainer->JoinGroup(collective->get());
    {
      const SignalInterrupter interrupter(collective->get());
      status = trainer->Run().status();
    }
    trainer->LeaveGroup();
    if (CauseOf(status) != FailureCause::kPeerLost) break;
  }
  return status;
}

int Main(int argc, char** argv) {
  URSA_CHECK(argc >= 4);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // of the threads to come, too
  URSA_CHECK_OK(KeepMemoryInProcess());
  SetComputeThreads(1);
  Place place{argv[3], std::atoi(argv[1]), std::atoi(argv[2])};
  const auto accelerator = OpenAccelerator(Setting("URSA_TEST_DEVICE", "cpu"), Setting("URSA_CUDA_PLUGIN", ""));
  URSA_CHECK_OK(accelerator.status());
  place.device = *(*accelerator)->Device(0);
  const auto model = MakeSmallNet(4, /*with_norms=*/true, /*dropout=*/0.3);
  model->To(place.device);
  TensorBatchSource batches(MakeImages(42, 21, 4, 12), place.rank, place.world_size);
  RunRecord record;
  FolderSink sink(place.folder);
  const int64_t die_at = Flag(argc, argv, "--die-at="), stop_at = Flag(argc, argv, "--stop-at=");
  const int64_t freeze_at = Flag(argc, argv, "--freeze-at=");
  const int64_t num_groups = std::max<int64_t>(1, Flag(argc, argv, "--groups="));
  Trainer::Parts parts;
  parts.model = model.get();
  parts.batches = &batches;
  parts.joins = Flag(argc, argv, "--joins") >= 0;
  parts.observer = &record;
  parts.checkpoints = &sink;
  int64_t polls = 0;
  parts.control = [&] {
    ++polls;
    if (polls == die_at) _exit(9);
    if (polls == freeze_at) raise(SIGSTOP);
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
    checkpoint.model = *ReadFile(place.folder + "/model");
    checkpoint.state = *ReadFile(place.folder + "/state");
    URSA_CHECK_OK((*trainer)->Restore(checkpoint));
  }
  const absl::Status status =
      RunInGroups(**accelerator, place, parts.joins ? num_groups : 1, num_groups, trainer->get());
  if (!status.ok()) {
    URSA_LOG(ERROR) << "rank " << place.rank << ": " << status;
    return 3;
  }
  const std::string text = Sha256Hex(StateBytes(*model)) + "\n" + record.PointsText();
  URSA_CHECK_OK(WriteFileAtomically(place.folder + "/result-" + argv[1], text));
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
