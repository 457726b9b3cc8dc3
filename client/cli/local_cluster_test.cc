#include "client/cli/local_cluster.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/clock.h"
#include "base/file.h"

namespace ursa::cli {
namespace {

class LocalClusterTest : public ::testing::Test {
 protected:
  LocalClusterTest() {
    std::string name = std::filesystem::canonical(::testing::TempDir()).string() + "/clusterXXXXXX";
    dir_ = ::mkdtemp(name.data());
    std::filesystem::create_directories(dir_ + "/bin");
  }
  ~LocalClusterTest() override {
    for (const DaemonProcess& daemon : FindDaemons(dir_)) ::kill(daemon.pid, SIGKILL);
    std::filesystem::remove_all(dir_);
  }

  // A program of shell, for what needs no answer.
  std::string Script(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/bin/" + name;
    std::ofstream(path) << "#!/bin/bash\n" << text;
    ::chmod(path.c_str(), 0755);
    return path;
  }

  // Starts a process that is called `program`, names the folder, and does nothing until it is ended.
  pid_t StartIdle(const std::string& program, const std::string& before = "") {
    std::ofstream(dir_ + "/idle");
    const absl::StatusOr<pid_t> pid = StartDaemon(
        {"/bin/bash", "-c", before + "exec -a " + program + " tail -f " + dir_ + "/idle"}, dir_, dir_ + "/log.txt");
    EXPECT_TRUE(pid.ok()) << pid.status();
    if (!pid.ok()) return 0;
    EXPECT_TRUE(Await([&] {
      const std::vector<DaemonProcess> found = FindDaemons(dir_, program);
      return std::any_of(found.begin(), found.end(), [&](const DaemonProcess& p) { return p.pid == *pid; });
    }));
    return *pid;
  }

  // Looks again and again, for at most 20 s.
  template <typename Condition>
  static bool Await(Condition condition) {
    const absl::Time deadline = Clock::Real()->Now() + absl::Seconds(20);
    while (!condition()) {
      if (Clock::Real()->Now() > deadline) return false;
      ::sched_yield();
    }
    return true;
  }

  std::string dir_;
};

TEST(NamesFolderTest, AWordThatIsTheFolderOrBelowIt) {
  EXPECT_TRUE(NamesFolder({"ursa-worker", "--dir", "/a/b"}, "/a/b"));
  EXPECT_TRUE(NamesFolder({"ursa-worker", "--dir=/a/b", "--slots", "2"}, "/a/b"));
  EXPECT_TRUE(NamesFolder({"ursa-task", "--spec", "/a/b/tasks/1"}, "/a/b"));
  EXPECT_FALSE(NamesFolder({"ursa-worker", "--dir", "/a/bc"}, "/a/b"));
  EXPECT_FALSE(NamesFolder({"ursa-worker", "--dir", "/x/a/b"}, "/a/b"));
  EXPECT_FALSE(NamesFolder({"ursa-worker"}, "/a/b"));
}

TEST_F(LocalClusterTest, AFolderIsTheSameUnderALink) {
  const std::string link = dir_ + "-link";
  std::filesystem::create_directory_symlink(dir_, link);
  EXPECT_TRUE(NamesFolder({"ursa-worker", "--dir", link}, dir_));
  std::filesystem::remove(link);
}

TEST_F(LocalClusterTest, DaemonsAreApartFromTheirStarter) {
  const std::string script = Script(
      "ursa-probe", "cut -d' ' -f6 /proc/$$/stat > sid; ls -l /proc/$$/fd > fds; echo said; echo wrong >&2; pwd");
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);  // a descriptor of ours that the daemon must not hold
  const absl::StatusOr<pid_t> pid = StartDaemon({script, "--dir", dir_}, dir_, dir_ + "/log.txt");
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_TRUE(WaitUntilGone({*pid}, absl::Seconds(20)));
  EXPECT_EQ(std::stoi(*ReadFile(dir_ + "/sid")), *pid);
  EXPECT_EQ(*ReadFile(dir_ + "/log.txt"), "said\nwrong\n" + dir_ + "\n");
  EXPECT_EQ(ReadFile(dir_ + "/fds")->find("pipe:"), std::string::npos) << *ReadFile(dir_ + "/fds");
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(LocalClusterTest, AProgramThatIsNotThereIsSaid) {
  const absl::StatusOr<pid_t> pid = StartDaemon({dir_ + "/nothing"}, dir_, dir_ + "/log.txt");
  EXPECT_TRUE(absl::IsNotFound(pid.status())) << pid.status();
  const absl::StatusOr<std::string> program = FindProgram("ursa-nothing", dir_ + "/b");
  EXPECT_TRUE(absl::IsNotFound(program.status()));
  EXPECT_NE(program.status().message().find("/b"), std::string::npos) << program.status();
}

TEST_F(LocalClusterTest, FindsProgramsInTheNamedFolder) {
  Script("ursa-worker", "");
  const absl::StatusOr<std::string> program = FindProgram("ursa-worker", dir_ + "/bin");
  ASSERT_TRUE(program.ok()) << program.status();
  EXPECT_EQ(*program, std::filesystem::canonical(dir_).string() + "/bin/ursa-worker");
}

TEST_F(LocalClusterTest, FindsItsDaemonsOnly) {
  EXPECT_TRUE(FindDaemons(dir_).empty());
  const pid_t worker = StartIdle("ursa-worker");
  const absl::StatusOr<pid_t> other =
      StartDaemon({"/bin/bash", "-c", "exec -a vim tail -f " + dir_ + "/idle"}, dir_, dir_ + "/log.txt");
  ASSERT_TRUE(other.ok());
  const std::vector<DaemonProcess> found = FindDaemons(dir_);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].pid, worker);
  EXPECT_EQ(found[0].program, "ursa-worker");
  EXPECT_TRUE(FindDaemons(dir_ + "x").empty());
  EXPECT_FALSE(IsBeingKilled(worker));
  ::kill(worker, SIGKILL);
  ::kill(*other, SIGKILL);
  EXPECT_TRUE(WaitUntilGone({worker, *other}, absl::Seconds(20)));
  EXPECT_TRUE(FindDaemons(dir_).empty());
}

TEST_F(LocalClusterTest, DownEndsWorkerThenCoordinatorAndLeavesNothing) {
  StartIdle("ursa-coordinator");
  StartIdle("ursa-worker");
  StartIdle("ursa-task");
  DownOptions options;
  options.dir = dir_;
  options.task_grace = absl::Milliseconds(100);  // tail does not end with its worker
  std::vector<std::string> steps;
  const absl::StatusOr<int> ended = BringDown(options, [&](const std::string& step) { steps.push_back(step); });
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(*ended, 3);
  EXPECT_EQ(steps, (std::vector<std::string>{"the worker stops; running jobs are checkpointed", "tasks end",
                                             "the coordinator stops"}));
  EXPECT_TRUE(FindDaemons(dir_).empty());
  EXPECT_EQ(*BringDown(options, [](const std::string&) {}), 0);
}

TEST_F(LocalClusterTest, DownKillsWhatDoesNotListen) {
  StartIdle("ursa-coordinator", "trap '' TERM; ");
  StartIdle("ursa-worker", "trap '' TERM; ");
  DownOptions options;
  options.dir = dir_;
  options.worker_grace = options.task_grace = options.coordinator_grace = absl::Milliseconds(100);
  EXPECT_EQ(*BringDown(options, [](const std::string&) {}), 2);
  EXPECT_TRUE(FindDaemons(dir_).empty());
}

TEST_F(LocalClusterTest, DownOnAFolderThatWasRemovedStillEndsItsProcesses) {
  const std::string gone = dir_ + "/gone";
  std::filesystem::create_directories(gone);
  std::ofstream(gone + "/idle");
  const absl::StatusOr<pid_t> pid = StartDaemon(
      {"/bin/bash", "-c", "exec -a ursa-worker tail -f /dev/null " + gone + "/idle"}, gone, dir_ + "/log.txt");
  ASSERT_TRUE(pid.ok());
  ASSERT_TRUE(Await([&] { return FindDaemons(gone).size() == 1; }));
  std::filesystem::remove_all(gone);
  DownOptions options;
  options.dir = gone;
  EXPECT_EQ(*BringDown(options, [](const std::string&) {}), 1);
  EXPECT_FALSE(IsRunning(*pid));
}

TEST_F(LocalClusterTest, UpFailsFastWithTheLastLinesOfTheLog) {
  Script("ursa-coordinator", "echo earlier; echo 'port 4321: in use' >&2; exit 3");
  Script("ursa-worker", "echo must not run > ran; exit 1");
  SignalWaiter signals;
  UpOptions options;
  options.dir = dir_ + "/data";
  options.slots = 1;
  options.ursa_bin = dir_ + "/bin";
  std::string tail;
  const absl::Time start = Clock::Real()->Now();
  const absl::StatusOr<UpResult> result = BringUp(options, &signals, &tail);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status())) << result.status();
  EXPECT_NE(result.status().message().find("exit status 3"), std::string::npos) << result.status();
  EXPECT_EQ(tail, "earlier\nport 4321: in use\n");
  EXPECT_LT(Clock::Real()->Now() - start, absl::Seconds(20));
  EXPECT_FALSE(std::filesystem::exists(options.dir + "/ran"));
  EXPECT_FALSE(std::filesystem::exists(options.dir + "/client.env"));
}

TEST_F(LocalClusterTest, AnUpThatFailsStopsWhatItStarted) {
  // It lives, but never answers.
  Script("ursa-coordinator", "exec -a ursa-coordinator tail -f " + dir_ + "/bin/ursa-coordinator");
  SignalWaiter signals;
  UpOptions options;
  options.dir = dir_;
  options.slots = 1;
  options.ursa_bin = dir_ + "/bin";
  options.start_timeout = absl::Seconds(1);
  std::string tail;
  EXPECT_TRUE(absl::IsDeadlineExceeded(BringUp(options, &signals, &tail).status()));
  EXPECT_TRUE(FindDaemons(dir_).empty());
}

TEST_F(LocalClusterTest, MoreCudaSlotsThanGpusAreRefused) {
  SignalWaiter signals;
  UpOptions options;
  options.dir = dir_;
  options.slots = 1000;
  options.kind = "cuda";
  std::string tail;
  const absl::StatusOr<UpResult> result = BringUp(options, &signals, &tail);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status()));
  EXPECT_NE(result.status().message().find("1000 cuda slots"), std::string::npos) << result.status();
}

// At once, not as slots that are never offered.
TEST_F(LocalClusterTest, GpusThatTasksCannotUseAreRefused) {
  std::ofstream(dir_ + "/nvidia0");
  Script("ursa-task", "[ \"$*\" = '--self_check cuda' ] && echo 'error: device cuda: no libc10_cuda.so' >&2; exit 1");
  SignalWaiter signals;
  UpOptions options;
  options.dir = dir_;
  options.kind = "cuda";
  options.dev = dir_;
  options.ursa_bin = dir_ + "/bin";
  std::string tail;
  const absl::Status status = BringUp(options, &signals, &tail).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("worker: cannot have cuda slots, "), std::string::npos) << status;
  EXPECT_NE(status.message().find("no libc10_cuda.so"), std::string::npos) << status;
}

TEST_F(LocalClusterTest, AFolderThatCannotBeMadeIsSaid) {
  std::ofstream(dir_ + "/file");
  SignalWaiter signals;
  UpOptions options;
  options.dir = dir_ + "/file/data";
  std::string tail;
  const absl::StatusOr<UpResult> result = BringUp(options, &signals, &tail);
  EXPECT_FALSE(result.ok());
  EXPECT_NE(result.status().message().find("file/data\": cannot create"), std::string::npos) << result.status();
}

TEST_F(LocalClusterTest, OneAtATime) {
  absl::StatusOr<FileLock> first = FileLock::Acquire(dir_ + "/lock", absl::ZeroDuration());
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(FileLock::Acquire(dir_ + "/lock", absl::Milliseconds(1)).status()));
  { const FileLock taken = *std::move(first); }
  EXPECT_TRUE(FileLock::Acquire(dir_ + "/lock", absl::ZeroDuration()).ok());
}

TEST_F(LocalClusterTest, GpusAreTheNumberedDevices) {
  for (const char* name : {"nvidia0", "nvidia1", "nvidia12", "nvidiactl", "nvidia-uvm", "nvidia", "null"})
    std::ofstream(dir_ + "/" + name);
  EXPECT_EQ(CountGpus(dir_), 3);
  EXPECT_EQ(CountGpus(dir_ + "/nothing"), 0);
}

TEST_F(LocalClusterTest, TheTailIsTheLastLinesFromAnOffset) {
  std::ofstream(dir_ + "/log") << "old\none\ntwo\nthree\n";
  EXPECT_EQ(TailOfFile(dir_ + "/log", 4, 2), "two\nthree\n");
  EXPECT_EQ(TailOfFile(dir_ + "/log", 4, 10), "one\ntwo\nthree\n");
  EXPECT_EQ(TailOfFile(dir_ + "/log", 100, 10), "");
  EXPECT_EQ(TailOfFile(dir_ + "/nothing", 0, 10), "");
  std::ofstream(dir_ + "/open") << "one\ntwo";
  EXPECT_EQ(TailOfFile(dir_ + "/open", 0, 1), "two");
}

TEST(ClientEnvTest, ValuesAreQuotedWhereAShellNeedsIt) {
  EXPECT_EQ(ClientEnv("127.0.0.1:4321", "/home/a/ursa/admin.token"),
            "URSA_SERVER=127.0.0.1:4321\nURSA_TOKEN_FILE=/home/a/ursa/admin.token\n");
  EXPECT_EQ(ClientEnv("127.0.0.1:1", "/my \"$x\"/t"),
            "URSA_SERVER=127.0.0.1:1\nURSA_TOKEN_FILE=\"/my \\\"\\$x\\\"/t\"\n");
}

TEST(AbsoluteFolderTest, AsSpelledWithoutASlashAtTheEnd) {
  EXPECT_EQ(*AbsoluteFolder("/a/b/"), "/a/b");
  EXPECT_EQ(*AbsoluteFolder("/a/./c/../b"), "/a/b");
  EXPECT_EQ(*AbsoluteFolder("x"), std::filesystem::current_path().string() + "/x");
  EXPECT_EQ(*AbsoluteFolder("/"), "/");
  EXPECT_FALSE(AbsoluteFolder("").ok());
}

TEST(DescribeExitTest, StatusAndSignal) {
  EXPECT_EQ(DescribeExit(3 << 8), "exit status 3");
  EXPECT_EQ(DescribeExit(SIGKILL), "killed by signal 9 (Killed)");
}

}  // namespace
}  // namespace ursa::cli
