// How fast one core makes network input of JPEG photos: the parts, and the whole loader.
//
//   loader FORM FOLDER      FORM is full (5 rounds of all photos), short (3 rounds of 64) or ci (checks only)
//
// Every figure is photos per second of one thread: num_photos / wall time. The rounds of the parts are interleaved;
// shown are median, minimum and maximum over the rounds. "decode" is the physical limit of a first epoch on this
// machine as long as each photo is decoded whole; "cached" is what later epochs reach while decoded photos fit into
// memory.
#include "worker/data/loader.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "worker/data/image_decoder.h"
#include "worker/data/pixel_kernels.h"
#include "worker/data/transform_graph.h"

namespace ursa {
namespace {

constexpr int64_t kBatchSize = 16;

// The book's recipe.
TransformGraph Graph() {
  TransformGraph graph;
  RandomResizedCropOptions crop;
  crop.min_scale = 0.5;
  graph.item = crop;
  graph.augment.emplace();
  return graph;
}

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Series {
  std::string name;
  std::function<void()> work;  // on all photos
  std::vector<double> photos_per_second;
};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// Both instruction sets must give the same bits, cached or not.
void Check(const std::vector<RgbImage>& images) {
  const TransformGraph graph = Graph();
  TransformScratch scratch;
  std::vector<float> outputs[2];
  for (size_t i = 0; i < images.size(); ++i) {
    for (const bool baseline : {false, true}) {
      outputs[baseline].resize(NumOutputValues(graph));
      CounterRng rng(42, i, 0);
      RngDraws draws(&rng);
      ForceBaselinePixelKernels(baseline);
      const absl::Status status =
          ApplyTransforms(graph, images[i], TransformMode::kTraining, &draws, &scratch, outputs[baseline].data());
      if (!status.ok()) Fail(status.ToString());
    }
    ForceBaselinePixelKernels(false);
    if (outputs[0] != outputs[1]) Fail("instruction sets differ");
  }
}

void RunEpoch(Loader* loader, int64_t epoch) {
  for (int64_t step = 0; step < loader->steps_per_epoch(); ++step) {
    const absl::StatusOr<HostBatch> batch = loader->Get(epoch, step);
    if (!batch.ok()) Fail(batch.status().ToString());
  }
}

int Main(const std::string& form, const std::string& folder) {
  std::vector<ExampleRef> examples;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string path = entry.path().string();
    if (entry.path().extension() == ".jpg") examples.push_back({path, 0, entry.path().filename().string()});
  }
  std::sort(examples.begin(), examples.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  const size_t num_photos_max = form == "full" ? 416 : form == "short" ? 64 : 16;
  const int num_rounds = form == "full" ? 5 : form == "short" ? 3 : 1;
  examples.resize(std::min(examples.size(), num_photos_max) / kBatchSize * kBatchSize);
  if (examples.empty()) Fail("no batch of .jpg files under " + folder);

  const TransformGraph graph = Graph();
  std::vector<std::string> files;
  std::vector<RgbImage> images;
  double pixels = 0;
  for (const ExampleRef& example : examples) {
    files.push_back(*ReadFile(example.path));
    images.push_back(*DecodeImage(files.back(), ImageLimits()));
    pixels += static_cast<double>(images.back().width) * images.back().height;
  }
  Check(images);
  std::printf("%zu photos of %.2f megapixels on average; both instruction sets give equal bits\n", images.size(),
              pixels / images.size() / 1e6);
  if (form == "ci") return 0;

  TransformScratch scratch;
  RgbImage decoded;
  std::vector<RgbImage> items(images.size());
  std::vector<float> output(NumOutputValues(graph));
  const auto draws_of = [](size_t i) { return CounterRng(42, i, 0); };
  const auto item = [&] {
    for (size_t i = 0; i < images.size(); ++i) {
      CounterRng rng = draws_of(i);
      RngDraws draws(&rng);
      (void)ApplyItem(graph, images[i], TransformMode::kTraining, &draws, &scratch.resize, &items[i]);
    }
  };
  item();
  LoaderOptions options;
  options.batch_size = kBatchSize;
  options.num_threads = 0;
  options.cache_bytes_max = 0;
  const auto source = std::make_shared<FileExampleSource>(examples);
  const auto uncached = *Loader::Create(source, graph, options);
  options.cache_bytes_max = int64_t{2} << 30;
  const auto cached = *Loader::Create(source, graph, options);
  RunEpoch(cached.get(), 0);

  int64_t epoch = 1;
  std::vector<Series> series = {
      {"decode",
       [&] {
         for (const std::string& file : files) (void)DecodeImage(file, ImageLimits(), &decoded);
       },
       {}},
      {"random resized crop to 224", item, {}},
      {"augment and normalise",
       [&] {
         for (size_t i = 0; i < items.size(); ++i) {
           CounterRng rng = draws_of(i);
           RngDraws draws(&rng);
           ApplyAfterItem(graph, items[i], TransformMode::kTraining, &draws, &scratch.batch, output.data());
         }
       },
       {}},
      {"loader, first epoch", [&] { RunEpoch(uncached.get(), epoch); }, {}},
      {"loader, cached", [&] { RunEpoch(cached.get(), epoch); }, {}},
  };
  for (int round = 0; round < num_rounds; ++round, ++epoch) {
    for (Series& s : series) s.photos_per_second.push_back(images.size() / Seconds(s.work));
  }
  std::printf("%-28s %8s %8s %8s   of decode\n", "photos/s, one thread", "median", "min", "max");
  double decode_median = 0;
  for (Series& s : series) {
    std::sort(s.photos_per_second.begin(), s.photos_per_second.end());
    const double median = s.photos_per_second[s.photos_per_second.size() / 2];
    if (decode_median == 0) decode_median = median;
    std::printf("%-28s %8.0f %8.0f %8.0f   %6.2f\n", s.name.c_str(), median, s.photos_per_second.front(),
                s.photos_per_second.back(), median / decode_median);
  }
  return 0;
}

}  // namespace
}  // namespace ursa

int main(int argc, char** argv) {
  const bool known =
      argc == 3 && (!std::strcmp(argv[1], "full") || !std::strcmp(argv[1], "short") || !std::strcmp(argv[1], "ci"));
  if (!known) {
    std::fprintf(stderr, "usage: loader full|short|ci FOLDER\n");
    return 2;
  }
  return ursa::Main(argv[1], argv[2]);
}
