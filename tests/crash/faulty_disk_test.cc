// Coordinators' commits, each in a process of its own, on a disk that errs, tears what was not synced, or turns bits
// over: what was acknowledged is there at the next start, whole changes only.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "coordinator/commit/commit.h"
#include "gtest/gtest.h"
#include "storage/record_store.h"
#include "storage/rocks_kv_store.h"
#include "storage/testing/rocks_faulty_file_system.h"

namespace ursa {
namespace {

constexpr int kNumSeeds = 8;
constexpr int kFailedWriteStatus = 4;  // with which Commit ends the process
constexpr int64_t kChangesMax = 20'000;
constexpr int64_t kCallsMax = 2'000;  // of the disk before a power failure

constexpr char kChildWord[] = "child";
constexpr char kCutsPowerWord[] = "cuts_power";
constexpr char kErrsWord[] = "errs";

std::string First(int64_t change) { return absl::StrCat("first ", change); }
std::string Second(int64_t change) { return absl::StrCat("second ", change); }

records::CounterRecord Counter(const std::string& name, int64_t value) {
  records::CounterRecord record;
  record.set_name(name);
  record.set_value(value);
  return record;
}

RocksKvStore::Options StoreOptions(rocksdb::Env* env) {
  RocksKvStore::Options options;
  options.write_buffer_bytes = 1 << 16;  // tables are written all the time
  options.env = env;
  return options;
}

// What the child tells, in a file that both have in memory: there whenever the child dies.
struct Told {
  // Zero when it is made. Lives until the process ends.
  static Told* Map(const std::string& file) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    URSA_CHECK(fd >= 0 && ::ftruncate(fd, sizeof(Told)) == 0) << file;
    void* const memory = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    URSA_CHECK(memory != MAP_FAILED) << file;
    ::close(fd);
    return static_cast<Told*>(memory);
  }

  std::atomic<int64_t> last_acknowledged{0};  // before the power failed
  std::atomic<int64_t> num_faults{0};
};

int64_t NumFaults(const RocksFaultyFileSystem::Counts& counts) {
  return counts.num_write_errors + counts.num_read_errors + counts.num_bit_flips + counts.num_undone_names +
         (counts.num_lost_bytes > 0 ? 1 : 0);
}

// Commits changes of two records each, a few in a batch, until the disk ends it or the power has failed.
[[noreturn]] void CommitUntilDeath(uint64_t seed, const std::string& folder, bool cuts_power) {
  Told* const told = Told::Map(folder + "/told");
  SeededRng rng(seed);
  RocksFaultyFileSystem disk(seed, folder + "/data", folder + "/scratch");
  {
    auto store = RocksKvStore::Open(folder + "/data", StoreOptions(disk.env()));
    if (!store.ok()) ::_exit(1);
    RecordStore records(store->get());
    Commit::Options options;
    options.on_failed_write = [&disk, told, end = options.on_failed_write](const absl::Status& status) {
      told->num_faults = NumFaults(disk.counts());
      end(status);
    };
    auto commit = Commit::Open(&records, options);
    if (!commit.ok()) ::_exit(2);
    if (cuts_power) {
      disk.CutPower(1 + static_cast<int64_t>(rng.Below(kCallsMax)));
    } else {
      RocksFaultyFileSystem::Faults faults;
      faults.write_error_rate = 0.01;
      disk.SetFaults(faults);
    }
    for (int64_t change = 1; change <= kChangesMax && !disk.is_power_cut(); ++change) {
      {
        Tx tx(commit->get());
        tx.Apply(std::move(Mutation().Put(Counter(First(change), change)).Put(Counter(Second(change), change))));
        tx.AfterDurable([&disk, told, change] {
          if (told->last_acknowledged != change - 1 && !disk.is_power_cut()) ::_exit(3);  // effects run in order
          if (!disk.is_power_cut()) told->last_acknowledged = change;
        });
      }
      if (rng.Below(4) == 0) (*commit)->RunQueued();
    }
  }
  if (!disk.is_power_cut() || !disk.LoseUnsynced().ok()) ::_exit(5);
  told->num_faults = NumFaults(disk.counts());
  ::_exit(0);
}

class FaultyDiskTest : public ::testing::Test {
 protected:
  FaultyDiskTest() {
    std::string pattern = ::testing::TempDir() + "/faulty_disk_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~FaultyDiskTest() override { std::filesystem::remove_all(folder_); }

  // A child on an empty disk; its exit status, or -1 if it ended otherwise. It is this program anew: what is forked off
  // a process that has opened a store lacks RocksDB's threads.
  int RunChild(uint64_t seed, bool cuts_power) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    told_ = Told::Map(folder_ + "/told");
    const std::string seed_text = absl::StrCat(seed);
    const char* const words[] = {"faulty_disk_test",
                                 kChildWord,
                                 seed_text.c_str(),
                                 folder_.c_str(),
                                 cuts_power ? kCutsPowerWord : kErrsWord,
                                 nullptr};
    const pid_t child = ::fork();
    if (child == 0) {
      ::execv("/proc/self/exe", const_cast<char* const*>(words));
      ::_exit(127);
    }
    int status = 0;
    const bool has_exited = ::waitpid(child, &status, 0) == child && WIFEXITED(status);
    num_acknowledged_ += told_->last_acknowledged;
    num_faults_ += told_->num_faults;
    return has_exited ? WEXITSTATUS(status) : -1;
  }

  // The next start: all that was acknowledged, whole changes only, in their order. Errors: of opening.
  absl::Status CheckNextStart(rocksdb::Env* env) const {
    URSA_ASSIGN_OR_RETURN(const std::unique_ptr<KvStore> store,
                          RocksKvStore::Open(folder_ + "/data", StoreOptions(env)));
    RecordStore records(store.get());
    URSA_ASSIGN_OR_RETURN(const std::unique_ptr<Commit> commit, Commit::Open(&records, Commit::Options()));
    const Tx tx(commit.get());
    const auto& counters = tx.state().All<records::CounterRecord>();
    EXPECT_EQ(counters.size() % 2, 0u) << "a change of two records is there whole or not at all";
    const auto num_here = static_cast<int64_t>(counters.size() / 2);
    EXPECT_GE(num_here, told_->last_acknowledged);
    for (int64_t change = 1; change <= num_here; ++change) {
      const auto first = counters.find(First(change));
      const auto second = counters.find(Second(change));
      if (first == counters.end() || second == counters.end() || first->second.value() != change ||
          second->second.value() != change) {
        ADD_FAILURE() << "change " << change << " of " << num_here << " is not as it was written";
        break;
      }
    }
    return absl::OkStatus();
  }

  void Print(const std::string& what) const {
    std::cout << what << ": " << kNumSeeds << " processes, " << num_acknowledged_
              << " changes acknowledged and found again, " << num_faults_ << " faults\n";
  }

  std::string folder_;
  Told* told_ = nullptr;
  int64_t num_acknowledged_ = 0;
  int64_t num_faults_ = 0;
};

TEST_F(FaultyDiskTest, AFailedWriteEndsTheCoordinatorAndTheNextStartReadsWhatIsDurable) {
  for (uint64_t seed = 1; seed <= kNumSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ASSERT_EQ(RunChild(seed, /*cuts_power=*/false), kFailedWriteStatus);
    const absl::Status status = CheckNextStart(/*env=*/nullptr);
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_GT(num_acknowledged_, 0);
  Print("one write in a hundred fails");
}

TEST_F(FaultyDiskTest, APowerFailureTakesNothingThatWasAcknowledged) {
  for (uint64_t seed = 1; seed <= kNumSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ASSERT_EQ(RunChild(seed, /*cuts_power=*/true), 0);
    const absl::Status status = CheckNextStart(/*env=*/nullptr);
    ASSERT_TRUE(status.ok()) << status;
  }
  EXPECT_GT(num_acknowledged_, 0);
  Print("power failures tear what was not synced");
}

TEST_F(FaultyDiskTest, AFlippedBitIsRefusedAtTheStartAndNeverReadAsAnotherChange) {
  int num_refused = 0;
  for (uint64_t seed = 1; seed <= kNumSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    ASSERT_EQ(RunChild(seed, /*cuts_power=*/true), 0);
    RocksFaultyFileSystem disk(seed, folder_ + "/data", folder_ + "/scratch2");
    RocksFaultyFileSystem::Faults faults;
    faults.bit_flip_rate = 0.2;
    disk.SetFaults(faults);
    const absl::Status status = CheckNextStart(disk.env());
    num_refused += status.ok() ? 0 : 1;
    num_faults_ += disk.counts().num_bit_flips;
    const absl::Status after = CheckNextStart(/*env=*/nullptr);  // it was the reading that was wrong
    ASSERT_TRUE(after.ok()) << after;
  }
  EXPECT_GT(num_refused, 0);
  Print(absl::StrCat("bits flip in what is read, ", num_refused, " starts refused"));
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == ursa::kChildWord) {
    ursa::CommitUntilDeath(std::strtoull(argv[2], nullptr, 10), argv[3], std::string(argv[4]) == ursa::kCutsPowerWord);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
