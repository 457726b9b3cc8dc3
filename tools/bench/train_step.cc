// Images per second of training steps on the CPU: ours, and the same model of torch's separate operators with torch's
// memory settings ("plain"), in processes of their own, interleaved.
//
//   bazel run -c opt //tools/bench:train_step -- [--arch=efficientnet_lite0] [--batch=32] [--size=224] [--steps=4]
//       [--rounds=3] [--threads=1,2] [--clock=wall|cpu]
//
// Prints median, minimum and maximum of each, and the ratio of medians. --clock=cpu counts the process's processor time
// times the number of threads instead of wall time, for a machine that does other things too.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/log.h"
#include "worker/nn/model.h"
#include "worker/train/loss.h"
#include "worker/train/memory.h"
#include "worker/train/optimizer.h"

namespace ursa {
namespace {

using Flags = std::map<std::string, std::string>;

// Turns every fused layer into torch's own operators.
void MakePlain(Model* model) {
  model->VisitLayers([](const std::string&, Layer* layer) { layer->set_fused(false); });
}

double Seconds(const Flags& flags, int threads) {
  timespec now;
  if (flags.at("clock") == "wall") {
    clock_gettime(CLOCK_MONOTONIC, &now);
    threads = 1;
  } else {
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  }
  return (static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec)) / threads;
}

// One process's measurement: images per second.
double Measure(const Flags& flags, bool is_plain, bool is_frozen, int threads) {
  if (!is_plain) URSA_CHECK_OK(KeepMemoryInProcess());
  SetComputeThreads(threads);
  ModelConfig config;
  config.architecture = flags.at("arch");
  config.num_classes = 3;
  auto built = BuildModel(config);
  URSA_CHECK_OK(built.status());
  Model& model = **built;
  if (is_plain) MakePlain(&model);
  model.SetTraining(true);
  if (is_frozen) model.Freeze(model.num_groups() - 1, /*train_norms=*/true);
  Adam optimizer(model.parameters(), {});
  const int64_t batch = std::stoll(flags.at("batch")), size = std::stoll(flags.at("size"));
  const at::Tensor images = at::randn({batch, 3, size, size}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor labels = at::randint(3, {batch}, at::kLong);
  const std::vector<double> rates(static_cast<size_t>(model.num_groups()), 1e-4);
  const int warm_up = 2, steps = std::stoi(flags.at("steps"));
  double start = 0;
  for (int step = 0; step < warm_up + steps; ++step) {
    if (step == warm_up) start = Seconds(flags, threads);
    optimizer.ZeroGradients();
    ClassificationLoss({}, model.Forward(images), labels).backward();
    optimizer.Step(rates, 0.9);
  }
  return static_cast<double>(batch * steps) / (Seconds(flags, threads) - start);
}

// The same in a child process, since allocator settings are for a whole life.
double MeasureInChild(const std::string& self, const Flags& flags, bool is_plain, bool is_frozen, int threads) {
  std::string command = self + " --child=" + (is_plain ? "plain" : "ours") + (is_frozen ? "_frozen" : "_unfrozen") +
                        " --threads=" + std::to_string(threads);
  for (const char* name : {"arch", "batch", "size", "steps", "clock"})
    command += std::string(" --") + name + "=" + flags.at(name);
  FILE* pipe = popen(command.c_str(), "r");  // tidy: allow(system) its own program with flags of its own making
  URSA_CHECK(pipe != nullptr);
  double value = 0;
  URSA_CHECK(std::fscanf(pipe, "%lf", &value) == 1) << command;
  pclose(pipe);
  return value;
}

std::string Spread(std::vector<double> values, double* median) {
  std::sort(values.begin(), values.end());
  *median = values[values.size() / 2];
  char text[80];
  std::snprintf(text, sizeof text, "%7.2f [%6.2f %6.2f]", *median, values.front(), values.back());
  return text;
}

int Main(int argc, char** argv) {
  Flags flags = {{"arch", "efficientnet_lite0"},
                 {"batch", "32"},
                 {"size", "224"},
                 {"steps", "4"},
                 {"rounds", "3"},
                 {"threads", "1,2"},
                 {"child", ""},
                 {"clock", "wall"}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals - 2);
    if (argument.rfind("--", 0) != 0 || equals == std::string::npos || flags.count(name) == 0) {
      std::fprintf(stderr, "error: %s: unknown argument\n", argument.c_str());
      return 2;
    }
    flags[name] = argument.substr(equals + 1);
  }
  if (!flags["child"].empty()) {
    const bool is_plain = flags["child"].rfind("plain", 0) == 0;
    const bool is_frozen = flags["child"].find("_frozen") != std::string::npos;
    std::printf("%.4f\n", Measure(flags, is_plain, is_frozen, std::stoi(flags["threads"])));
    return 0;
  }
  std::printf("%s, batch %s at %s: images/s, median [min max] of %s rounds of %s steps\n", flags["arch"].c_str(),
              flags["batch"].c_str(), flags["size"].c_str(), flags["rounds"].c_str(), flags["steps"].c_str());
  std::stringstream thread_counts(flags["threads"]);
  for (std::string threads; std::getline(thread_counts, threads, ',');) {
    for (const bool is_frozen : {true, false}) {
      std::vector<double> ours, plain;
      for (int round = 0; round < std::stoi(flags["rounds"]); ++round) {
        plain.push_back(MeasureInChild(argv[0], flags, true, is_frozen, std::stoi(threads)));
        ours.push_back(MeasureInChild(argv[0], flags, false, is_frozen, std::stoi(threads)));
      }
      double our_median = 0, plain_median = 0;
      const std::string ours_text = Spread(ours, &our_median), plain_text = Spread(plain, &plain_median);
      std::printf("%s thread(s), %-8s  ours %s  plain %s  ratio %.2f\n", threads.c_str(),
                  is_frozen ? "frozen" : "unfrozen", ours_text.c_str(), plain_text.c_str(), our_median / plain_median);
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) { return ursa::Main(argc, argv); }
