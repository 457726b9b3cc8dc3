// A disk that errs under the coordinator's commit: the process ends at the first write that fails, and the next start
// finds all that was acknowledged, whole changes only.
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
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

std::string First(int64_t change) { return absl::StrCat("first ", change); }
std::string Second(int64_t change) { return absl::StrCat("second ", change); }

records::CounterRecord Counter(const std::string& name, int64_t value) {
  records::CounterRecord record;
  record.set_name(name);
  record.set_value(value);
  return record;
}

// Commits changes of two records each, and writes the number of each durable one to `acknowledged`, until it dies.
[[noreturn]] void CommitUntilDeath(uint64_t seed, const std::string& folder, int acknowledged) {
  RocksFaultyFileSystem disk(seed, folder + "/data", folder + "/scratch");
  RocksKvStore::Options options;
  options.write_buffer_bytes = 1 << 16;
  options.env = disk.env();
  auto store = RocksKvStore::Open(folder + "/data", options);
  if (!store.ok()) ::_exit(1);
  RecordStore records(store->get());
  auto commit = Commit::Open(&records, Commit::Options());
  if (!commit.ok()) ::_exit(2);
  (*commit)->Start();
  RocksFaultyFileSystem::Faults faults;
  faults.write_error_rate = 0.01;
  disk.SetFaults(faults);
  for (int64_t change = 1; change <= kChangesMax; ++change) {
    Tx tx(commit->get());
    tx.Apply(std::move(Mutation().Put(Counter(First(change), change)).Put(Counter(Second(change), change))));
    tx.AfterDurable([acknowledged, change] {
      if (::write(acknowledged, &change, sizeof(change)) != sizeof(change)) ::_exit(3);
    });
  }
  (*commit)->Stop();
  ::_exit(5);
}

TEST(FailedWriteTest, EndsTheCoordinatorAndTheNextStartReadsWhatIsDurable) {
  int64_t num_acknowledged = 0;
  for (uint64_t seed = 1; seed <= kNumSeeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::string folder = ::testing::TempDir() + "/failed_write_XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    int acknowledgements[2];
    ASSERT_EQ(::pipe(acknowledgements), 0);
    const pid_t child = ::fork();
    if (child == 0) CommitUntilDeath(seed, folder, acknowledgements[1]);
    ::close(acknowledgements[1]);
    int64_t last = 0;
    for (int64_t change = 0; ::read(acknowledgements[0], &change, sizeof(change)) == sizeof(change);) {
      ASSERT_EQ(change, last + 1) << "effects run in order";
      last = change;
    }
    ::close(acknowledgements[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kFailedWriteStatus) << "wait status " << status;
    num_acknowledged += last;

    const auto store = RocksKvStore::Open(folder + "/data", RocksKvStore::Options());
    ASSERT_TRUE(store.ok()) << store.status();
    RecordStore records(store->get());
    const auto commit = Commit::Open(&records, Commit::Options());
    ASSERT_TRUE(commit.ok()) << commit.status();
    const Tx tx(commit->get());
    const auto& counters = tx.state().All<records::CounterRecord>();
    ASSERT_EQ(counters.size() % 2, 0u) << "a change of two records is there whole or not at all";
    const int64_t num_here = static_cast<int64_t>(counters.size() / 2);
    ASSERT_GE(num_here, last);
    for (int64_t change = 1; change <= num_here; ++change) {
      ASSERT_EQ(counters.count(First(change)) + counters.count(Second(change)), 2u) << change;
    }
    std::filesystem::remove_all(folder);
  }
  EXPECT_GT(num_acknowledged, 0);
}

}  // namespace
}  // namespace ursa
