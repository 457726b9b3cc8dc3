// Every case of splitters.json that this room answers for; the others are counted with the reason.
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/golden_testlib.h"
#include "experiments/mt19937.h"
#include "experiments/splitters.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

uint64_t Seed(const Json& golden) { return static_cast<uint64_t>(Integer(At(golden, "seed"))); }

std::vector<int64_t> Head(const std::vector<int64_t>& list, size_t n) { return {list.begin(), list.begin() + n}; }
std::vector<int64_t> Tail(const std::vector<int64_t>& list, size_t n) { return {list.end() - n, list.end()}; }

void CheckRandPerm(const Json& golden) {
  const std::vector<int64_t> order = TorchMt19937(Seed(golden)).RandPerm(Integer(At(golden, "n")));
  if (Has(golden, "value")) {
    EXPECT_EQ(order, Integers(At(golden, "value")));
    return;
  }
  const std::vector<int64_t> first = Integers(At(golden, "first"));
  const std::vector<int64_t> last = Integers(At(golden, "last"));
  EXPECT_EQ(Head(order, first.size()), first);
  EXPECT_EQ(Tail(order, last.size()), last);
  int64_t weighted_sum = 0;
  for (size_t i = 0; i < order.size(); ++i) weighted_sum += static_cast<int64_t>(i) * order[i];
  EXPECT_EQ(weighted_sum % 1000003, Integer(At(golden, "weighted_sum_mod")));
}

// float32 values are written with 9 digits, which read back to the same float. torch's build scales with one rounding.
void ExpectFloats(const std::vector<double>& expected, TorchMt19937* generator, float low = 0, float high = 1) {
  for (double value : expected) EXPECT_EQ(std::fma(generator->Rand(), high - low, low), static_cast<float>(value));
}

void CheckRand(const Json& golden) {
  TorchMt19937 generator(Seed(golden));
  ExpectFloats(Numbers(At(golden, "value")), &generator);
  ExpectFloats(Numbers(At(golden, "then_rand3")), &generator);
}

void CheckRandFloat64(const Json& golden) {
  TorchMt19937 generator(Seed(golden));
  for (double value : Numbers(At(golden, "value"))) EXPECT_EQ(generator.RandFloat64(), value);
}

void CheckRandInt(const Json& golden) {
  TorchMt19937 generator(Seed(golden));
  for (int64_t value : Integers(At(golden, "value"))) {
    EXPECT_EQ(generator.RandInt(Integer(At(golden, "low")), Integer(At(golden, "high"))), value);
  }
}

void CheckUniform(const Json& golden) {
  TorchMt19937 generator(Seed(golden));
  ExpectFloats(Numbers(At(golden, "value")), &generator, static_cast<float>(Number(At(golden, "lo"))),
               static_cast<float>(Number(At(golden, "hi"))));
}

void CheckSeedAfter(const Json& golden) {
  TorchMt19937 generator(Seed(golden));
  EXPECT_EQ(generator.RandPerm(10), Integers(At(golden, "randperm")));
  ExpectFloats(Numbers(At(golden, "rand")), &generator);
}

void CheckRandomSplitter(const Json& golden) {
  const SplitIndices split = RandomSplit(Integer(At(golden, "n")), Number(At(golden, "valid_pct")), Seed(golden));
  EXPECT_EQ(static_cast<int64_t>(split.train.size()), Integer(At(golden, "n_train")));
  EXPECT_EQ(static_cast<int64_t>(split.valid.size()), Integer(At(golden, "n_valid")));
  EXPECT_TRUE(split.test.empty());
  if (Has(golden, "train")) {
    EXPECT_EQ(split.train, Integers(At(golden, "train")));
    EXPECT_EQ(split.valid, Integers(At(golden, "valid")));
    return;
  }
  const std::vector<int64_t> train = Integers(At(golden, "train_first"));
  const std::vector<int64_t> valid = Integers(At(golden, "valid_first"));
  EXPECT_EQ(Head(split.train, train.size()), train);
  EXPECT_EQ(Head(split.valid, valid.size()), valid);
}

// The names may be one or several; indices come in the order of the names.
std::vector<int64_t> IndicesUnder(const std::vector<std::string>& paths, const Json& names) {
  std::vector<std::string> wanted = Strings(names);
  if (names.kind_case() == Json::kStringValue) wanted = {names.string_value()};
  std::vector<int64_t> indices;
  for (const std::string& name : wanted) {
    for (size_t i = 0; i < paths.size(); ++i) {
      if (GrandparentFolder(paths[i]) == name) indices.push_back(static_cast<int64_t>(i));
    }
  }
  return indices;
}

void CheckGrandparentSplitter(const Json& golden) {
  const std::vector<std::string> paths = Strings(At(golden, "paths"));
  EXPECT_EQ(IndicesUnder(paths, At(golden, "train_name")), Integers(At(golden, "train")));
  EXPECT_EQ(IndicesUnder(paths, At(golden, "valid_name")), Integers(At(golden, "valid")));
}

void CheckColSplitter(const Json& golden) {
  std::vector<std::string> names;
  for (const Json& value : At(golden, "column").list_value().values()) {
    names.push_back(SplitOfColumnValue(value.bool_value() ? "True" : "False").value());
  }
  const SplitIndices split = NamedSplit(names).value();
  EXPECT_EQ(split.train, Integers(At(golden, "train")));
  EXPECT_EQ(split.valid, Integers(At(golden, "valid")));
}

void CheckParentLabel(const Json& golden) {
  const std::vector<std::string> paths = Strings(At(golden, "paths"));
  const std::vector<std::string> labels = Strings(At(golden, "value"));
  ASSERT_EQ(paths.size(), labels.size());
  for (size_t i = 0; i < paths.size(); ++i) EXPECT_EQ(ParentFolder(paths[i]), labels[i]) << paths[i];
}

void CheckPythonRandom(const Json& golden) {
  PyRandom random(Seed(golden));
  for (double value : Numbers(At(golden, "random"))) EXPECT_EQ(random.Random(), value);
  for (int64_t value : Integers(At(golden, "getrandbits32"))) {
    EXPECT_EQ(random.GetRandBits(32), static_cast<uint64_t>(value));
  }
  for (int64_t value : Integers(At(golden, "randint_0_7"))) EXPECT_EQ(random.RandInt(0, 7), value);
  for (double value : Numbers(At(golden, "uniform_m10_10"))) EXPECT_EQ(random.Uniform(-10, 10), value);
  for (int64_t value : Integers(At(golden, "randint_0_4294967295"))) EXPECT_EQ(random.RandInt(0, 4294967295), value);
  EXPECT_EQ(random.Sample(10, 10), Integers(At(golden, "sample_range10_10")));
  EXPECT_EQ(random.Sample(1000, 5), Integers(At(golden, "sample_range1000_5")));
  std::vector<int64_t> items = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  random.Shuffle(&items);
  EXPECT_EQ(items, Integers(At(golden, "shuffle_range9")));
}

void ExpectBatches(const std::vector<int64_t>& order, int64_t batch_size, const Json& batches) {
  ASSERT_EQ(static_cast<int64_t>(order.size()) / batch_size, batches.list_value().values_size());
  auto begin = order.begin();
  for (const Json& batch : batches.list_value().values()) {
    EXPECT_EQ(std::vector<int64_t>(begin, begin + batch_size), Integers(batch));
    begin += batch_size;
  }
}

void CheckLoaderShuffle(const Json& golden) {
  LoaderOrder order(Seed(golden), Integer(At(golden, "n")));
  int64_t epoch = 0;
  for (const Json& batches : At(golden, "epochs").list_value().values()) {
    ExpectBatches(order.EpochOrder(epoch++), Integer(At(golden, "bs")), batches);
  }
}

// fastai users re-seed the loader's private generator; the chain goes on from there.
void CheckLoaderReseeded(const Json& golden) {
  PyRandom generator(static_cast<uint64_t>(Integer(At(golden, "reseed"))));
  const int64_t n = Integer(At(golden, "n"));
  for (const Json& batches : At(golden, "epochs").list_value().values()) {
    generator = PyRandom(static_cast<uint64_t>(generator.RandInt(0, 4294967295)));
    ExpectBatches(generator.Sample(n, n), Integer(At(golden, "bs")), batches);
  }
}

// Why kinds, or cases of a kind, are not this room's; empty for those that are.
std::string OutOfScope(const Json& golden) {
  static const auto& reasons = *new std::map<std::string, std::string>{
      {"randn", "weights are drawn by libtorch itself"},
      {"bernoulli", "no split draws it"},
      {"RandomSubsetSplitter", "no split of that name is offered"},
      {"EndSplitter", "no split of that name is offered"},
      {"IndexSplitter", "no split of that name is offered"},
      {"MaskSplitter", "no split of that name is offered"},
      {"FuncSplitter", "no split of that name is offered"},
      {"FileSplitter", "no split of that name is offered"},
      {"MultiCategorize", "one label an example"},
      {"RegexLabeller", "labels are read by the client"},
      {"get_image_files", "the client walks the source"},
      {"numpy_random_state", "nothing follows NumPy's generator"},
  };
  const std::string kind = Kind(golden);
  const auto found = reasons.find(kind);
  if (found != reasons.end()) return found->second;
  if (kind == "ColSplitter") {
    for (const Json& value : At(golden, "column").list_value().values()) {
      if (value.kind_case() != Json::kBoolValue) return "a split column of numbers other than 0 and 1 is refused";
    }
  }
  if (kind == "CategoryMap") {
    if (!At(golden, "sort").bool_value() || At(golden, "add_na").bool_value())
      return "classes are sorted, without #na#";
    for (const Json& label : At(golden, "labels").list_value().values()) {
      if (label.kind_case() != Json::kStringValue) return "labels are text";
    }
  }
  return "";
}

TEST(SplittersGoldenTest, AllCases) {
  const std::map<std::string, void (*)(const Json&)> checks = {
      {"randperm", CheckRandPerm},
      {"rand", CheckRand},
      {"rand_float64", CheckRandFloat64},
      {"randint", CheckRandInt},
      {"uniform", CheckUniform},
      {"random_seed_after", CheckSeedAfter},
      {"RandomSplitter", CheckRandomSplitter},
      {"GrandparentSplitter", CheckGrandparentSplitter},
      {"ColSplitter", CheckColSplitter},
      {"parent_label", CheckParentLabel},
      {"CategoryMap",
       [](const Json& golden) {
         EXPECT_EQ(SortedClasses(Strings(At(golden, "labels"))), Strings(At(golden, "vocab")));
       }},
      {"python_random", CheckPythonRandom},
      {"loader_shuffle", CheckLoaderShuffle},
      {"loader_shuffle_reseeded", CheckLoaderReseeded},
  };
  GoldenTally tally;
  for (const Json& golden : GoldenCases("splitters.json")) {
    const std::string kind = Kind(golden);
    const std::string why = OutOfScope(golden);
    if (!why.empty()) {
      tally.Skipped(kind, why);
      continue;
    }
    const auto check = checks.find(kind);
    if (check == checks.end()) {
      ADD_FAILURE() << "no check for kind " << kind;
      continue;
    }
    SCOPED_TRACE(golden.ShortDebugString().substr(0, 160));
    check->second(golden);
    tally.Checked(kind);
  }
  EXPECT_GE(tally.num_checked(), 1);
}

}  // namespace
}  // namespace ursa
