#include "worker/data/loader.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

// jpeglib.h needs stdio before it.
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "experiments/mt19937.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

// JPEG, as its decoder keeps no state between threads: OpenCV's has locks that the thread sanitizer complains about.
std::string EncodeJpeg(RgbImage* image) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long num_bytes = 0;
  jpeg_mem_dest(&info, &buffer, &num_bytes);
  info.image_width = image->width;
  info.image_height = image->height;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < image->height; ++y) {
    JSAMPROW row = image->Row(y);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string file(reinterpret_cast<const char*>(buffer), num_bytes);
  std::free(buffer);
  return file;
}

// Small pictures in memory, each different. Counts what is read; can be told to fail.
class FakeSource : public ExampleSource {
 public:
  explicit FakeSource(int64_t size) {
    for (int64_t i = 0; i < size; ++i) ids_.push_back(absl::StrCat("id", i));
  }
  int64_t size() const override { return static_cast<int64_t>(ids_.size()); }
  absl::StatusOr<std::string> Read(int64_t index) const override {
    ++num_reads;
    if (index == broken_index) return std::string("not a picture");
    if (index == missing_index) return absl::NotFoundError("gone");
    const int width = 20 + static_cast<int>(index % 7);
    const int height = 15 + static_cast<int>(index % 5);
    RgbImage image(width, height);
    for (size_t i = 0; i < image.NumBytes(); ++i) image.pixels[i] = static_cast<uint8_t>(i * (index + 3) % 251);
    return EncodeJpeg(&image);
  }
  int64_t Label(int64_t index) const override { return index % 3; }
  const std::string& Id(int64_t index) const override { return ids_[index]; }
  const std::string& Location(int64_t index) const override { return location_; }

  mutable std::atomic<int> num_reads{0};
  std::atomic<int64_t> broken_index{-1};
  std::atomic<int64_t> missing_index{-1};

 private:
  std::vector<std::string> ids_;
  std::string location_ = "memory";
};

TransformGraph Graph() {
  TransformGraph graph;
  RandomResizedCropOptions crop;
  crop.height = 12;
  crop.width = 16;
  graph.item = crop;
  graph.augment.emplace();
  return graph;
}

LoaderOptions Options(int64_t batch_size, TransformMode mode = TransformMode::kTraining) {
  LoaderOptions options;
  options.mode = mode;
  options.batch_size = batch_size;
  return options;
}

std::unique_ptr<Loader> MakeLoader(std::shared_ptr<const ExampleSource> source, const LoaderOptions& options,
                                   const TransformGraph& graph = Graph()) {
  auto loader = Loader::Create(std::move(source), graph, options);
  EXPECT_TRUE(loader.ok()) << loader.status();
  return *std::move(loader);
}

HostBatch GetBatch(Loader* loader, int64_t epoch, int64_t step) {
  absl::StatusOr<HostBatch> batch = loader->Get(epoch, step);
  EXPECT_TRUE(batch.ok()) << batch.status();
  return batch.ok() ? *std::move(batch) : HostBatch();
}

std::vector<float> Pixels(const HostBatch& batch) {
  return std::vector<float>(batch.images.get(), batch.images.get() + batch.size() * batch.height * batch.width * 3);
}

// The pixels of each example, by (epoch, index).
using Examples = std::map<std::pair<int64_t, int64_t>, std::vector<float>>;

Examples RunEpochs(const LoaderOptions& options, int64_t num_epochs, int64_t num_examples = 23) {
  Examples examples;
  const auto loader = MakeLoader(std::make_shared<FakeSource>(num_examples), options);
  for (int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    for (int64_t step = 0; step < loader->steps_per_epoch(); ++step) {
      const HostBatch batch = GetBatch(loader.get(), epoch, step);
      const std::vector<float> pixels = Pixels(batch);
      const int64_t num_values = batch.height * batch.width * 3;
      for (int64_t i = 0; i < batch.size(); ++i) {
        const auto inserted = examples.emplace(
            std::make_pair(epoch, batch.indices[i]),
            std::vector<float>(pixels.begin() + i * num_values, pixels.begin() + (i + 1) * num_values));
        EXPECT_TRUE(inserted.second) << "example twice in an epoch";
      }
    }
  }
  return examples;
}

TEST(LoaderTest, VisitsInFastaisOrderAndDropsTheIncompleteBatch) {
  const auto loader = MakeLoader(std::make_shared<FakeSource>(13), Options(4));
  LoaderOrder order(42, 13);
  ASSERT_EQ(loader->steps_per_epoch(), 3);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    const std::vector<int64_t> expected = order.EpochOrder(epoch);
    for (int64_t step = 0; step < 3; ++step) {
      const HostBatch batch = GetBatch(loader.get(), epoch, step);
      ASSERT_EQ(batch.size(), 4);
      EXPECT_EQ(batch.global_size, 4);
      for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(batch.indices[i], expected[4 * step + i]);
        EXPECT_EQ(batch.labels[i], batch.indices[i] % 3);
      }
    }
  }
}

TEST(LoaderTest, EqualBitsForAnyNumberOfThreadsAndAnyCache) {
  LoaderOptions options = Options(4);
  options.num_threads = 0;
  const Examples expected = RunEpochs(options, 3);
  for (const int num_threads : {1, 3}) {
    for (const int64_t cache_bytes : {int64_t{0}, int64_t{6000}, int64_t{1} << 20}) {
      options.num_threads = num_threads;
      options.cache_bytes_max = cache_bytes;
      EXPECT_EQ(RunEpochs(options, 3), expected) << num_threads << " threads, cache " << cache_bytes;
    }
  }
}

TEST(LoaderTest, EachExampleHasTheSameBitsOnAnyNumberOfRanks) {
  const Examples expected = RunEpochs(Options(4), 2);
  Examples together;
  for (int rank = 0; rank < 2; ++rank) {
    LoaderOptions options = Options(4);
    options.rank = rank;
    options.world_size = 2;
    for (auto& example : RunEpochs(options, 2)) EXPECT_TRUE(together.insert(example).second) << "on both ranks";
  }
  EXPECT_EQ(together, expected);
}

TEST(LoaderTest, RanksTakeConsecutiveSlicesOfTheGlobalBatch) {
  LoaderOptions options = Options(4);
  const HostBatch whole = GetBatch(MakeLoader(std::make_shared<FakeSource>(13), options).get(), 1, 2);
  options.world_size = 2;
  for (int rank = 0; rank < 2; ++rank) {
    options.rank = rank;
    const HostBatch part = GetBatch(MakeLoader(std::make_shared<FakeSource>(13), options).get(), 1, 2);
    const std::vector<int64_t> expected(whole.indices.begin() + 2 * rank, whole.indices.begin() + 2 * rank + 2);
    EXPECT_EQ(part.indices, expected);
    EXPECT_EQ(part.global_size, 4);
  }
}

TEST(LoaderTest, AnswersDoNotDependOnWhatWasAskedBefore) {
  const auto source = std::make_shared<FakeSource>(23);
  const auto loader = MakeLoader(source, Options(4));
  std::map<std::pair<int64_t, int64_t>, std::vector<float>> in_order;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    for (int64_t step = 0; step < 5; ++step) in_order[{epoch, step}] = Pixels(GetBatch(loader.get(), epoch, step));
  }
  for (const auto& [epoch, step] :
       std::vector<std::pair<int64_t, int64_t>>{{2, 4}, {0, 0}, {0, 1}, {2, 0}, {1, 3}, {1, 3}}) {
    EXPECT_EQ(Pixels(GetBatch(loader.get(), epoch, step)), (in_order[{epoch, step}])) << epoch << " " << step;
  }
  // A new loader that starts in the middle, as after a restart.
  EXPECT_EQ(Pixels(GetBatch(MakeLoader(source, Options(4)).get(), 1, 3)), (in_order[{1, 3}]));
}

TEST(LoaderTest, EpochsDifferAndSeedsDiffer) {
  LoaderOptions options = Options(23);
  const Examples epochs = RunEpochs(options, 2);
  EXPECT_NE((epochs.at({0, 5})), (epochs.at({1, 5})));
  options.seed = 1;
  EXPECT_NE((RunEpochs(options, 1).at({0, 5})), (epochs.at({0, 5})));
}

TEST(LoaderTest, EvaluationGivesEveryExampleOnceInOrderOverAllRanks) {
  for (const int world_size : {1, 2, 3}) {
    std::vector<std::vector<int64_t>> by_step(3);
    for (int rank = 0; rank < world_size; ++rank) {
      LoaderOptions options = Options(5, TransformMode::kEvaluation);  // 11 examples: 5, 5, 1
      options.rank = rank;
      options.world_size = world_size;
      const auto loader = MakeLoader(std::make_shared<FakeSource>(11), options);
      ASSERT_EQ(loader->steps_per_epoch(), 3);
      for (int64_t step = 0; step < 3; ++step) {
        const HostBatch batch = GetBatch(loader.get(), 0, step);
        EXPECT_EQ(batch.global_size, step < 2 ? 5 : 1);
        by_step[step].insert(by_step[step].end(), batch.indices.begin(), batch.indices.end());
      }
    }
    std::vector<int64_t> all;
    for (const auto& indices : by_step) all.insert(all.end(), indices.begin(), indices.end());
    EXPECT_EQ(all, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10})) << world_size << " ranks";
  }
}

TEST(LoaderTest, EvaluationRepeatsItsBits) {
  LoaderOptions options = Options(5, TransformMode::kEvaluation);
  const auto source = std::make_shared<FakeSource>(11);
  const auto loader = MakeLoader(source, options);
  const std::vector<float> first = Pixels(GetBatch(loader.get(), 0, 0));
  for (int64_t step = 1; step < 3; ++step) GetBatch(loader.get(), 0, step);
  const int num_reads = source->num_reads;
  EXPECT_EQ(Pixels(GetBatch(loader.get(), 0, 0)), first);
  GetBatch(loader.get(), 0, 1);
  EXPECT_EQ(source->num_reads, num_reads);  // all from memory
  options.cache_bytes_max = 0;
  EXPECT_EQ(Pixels(GetBatch(MakeLoader(source, options).get(), 0, 0)), first);
}

TEST(LoaderTest, CacheIsBoundedAndSparesReads) {
  struct Case {
    int64_t cache_bytes_max;
    int num_reads_min;
    int num_reads_max;
  };
  // Eight pictures of about 1000 bytes, three epochs: nothing kept, some, all.
  for (const Case& expected : {Case{0, 24, 24}, Case{5000, 9, 20}, Case{1 << 20, 8, 8}}) {
    LoaderOptions options = Options(4);
    options.num_threads = 0;
    options.cache_bytes_max = expected.cache_bytes_max;
    const auto source = std::make_shared<FakeSource>(8);
    const auto loader = MakeLoader(source, options);
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      for (int64_t step = 0; step < 2; ++step) GetBatch(loader.get(), epoch, step);
      EXPECT_LE(loader->cache_bytes(), expected.cache_bytes_max);
    }
    EXPECT_GE(source->num_reads, expected.num_reads_min);
    EXPECT_LE(source->num_reads, expected.num_reads_max);
  }
}

TEST(LoaderTest, ErrorsNameTheExampleAndCanBeAskedAgain) {
  const auto source = std::make_shared<FakeSource>(9);
  source->broken_index = 4;
  LoaderOptions options = Options(3, TransformMode::kEvaluation);
  options.num_threads = 2;
  options.cache_bytes_max = 0;
  const auto loader = MakeLoader(source, options);
  EXPECT_TRUE(loader->Get(0, 0).ok());
  const absl::Status status = loader->Get(0, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), "example id4 (memory): image: not an image but text");
  source->broken_index = -1;
  source->missing_index = 3;
  EXPECT_EQ(loader->Get(0, 1).status().code(), absl::StatusCode::kNotFound);
  source->missing_index = -1;
  EXPECT_TRUE(loader->Get(0, 1).ok());
  EXPECT_TRUE(loader->Get(0, 2).ok());
  EXPECT_EQ(loader->Get(0, 3).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(loader->Get(1, 0).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(LoaderTest, BatchesOutliveTheLoader) {
  auto loader = MakeLoader(std::make_shared<FakeSource>(9), Options(3));
  const HostBatch batch = GetBatch(loader.get(), 0, 0);
  const std::vector<float> pixels = Pixels(batch);
  for (int64_t step = 1; step < 3; ++step) GetBatch(loader.get(), 0, step);  // must not write over what is held
  EXPECT_EQ(Pixels(batch), pixels);
  EXPECT_GT(loader->data_wait(), absl::ZeroDuration());
  loader.reset();
  EXPECT_EQ(Pixels(batch), pixels);
}

TEST(LoaderTest, EndsWhileWorkIsQueued) {
  LoaderOptions options = Options(3);
  options.num_threads = 3;
  options.prefetch_batches = 8;
  for (int round = 0; round < 20; ++round) {
    const auto loader = MakeLoader(std::make_shared<FakeSource>(9), options);
    GetBatch(loader.get(), round, round % 3);
  }
}

TEST(LoaderTest, RefusesWhatCannotWork) {
  const auto create = [](int64_t num_examples, const LoaderOptions& options) {
    return Loader::Create(std::make_shared<FakeSource>(num_examples), Graph(), options).status();
  };
  const absl::Status too_few = create(3, Options(4));
  EXPECT_EQ(too_few.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(too_few.message().find("3 examples do not fill a batch of 4"), std::string::npos) << too_few;
  EXPECT_TRUE(create(3, Options(4, TransformMode::kEvaluation)).ok());
  EXPECT_EQ(create(0, Options(4, TransformMode::kEvaluation)).code(), absl::StatusCode::kFailedPrecondition);
  LoaderOptions options = Options(5);
  options.world_size = 2;
  EXPECT_EQ(create(30, options).code(), absl::StatusCode::kInvalidArgument);
  options = Options(4);
  options.rank = 1;
  EXPECT_EQ(create(30, options).code(), absl::StatusCode::kInvalidArgument);
  options = Options(4);
  options.prefetch_batches = 0;
  EXPECT_EQ(create(30, options).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ursa
