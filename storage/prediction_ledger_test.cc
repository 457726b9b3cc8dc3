#include "storage/prediction_ledger.h"

#include <cmath>
#include <cstring>

#include "base/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/keys.h"
#include "storage/kv_testing.h"
#include "storage/memory_kv_store.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string ExampleId(int i) { return Sha256Hex("example " + std::to_string(i)); }

std::vector<std::string> ExampleIds(int begin, int end, int step = 1) {
  std::vector<std::string> ids;
  for (int i = begin; i < end; i += step) ids.push_back(ExampleId(i));
  return ids;
}

class PredictionLedgerTest : public ::testing::Test {
 protected:
  absl::Status Put(const PredictionSource& source, int begin, int end, float base = 0) {
    std::vector<Prediction> predictions;
    for (int i = begin; i < end; ++i) predictions.push_back({ExampleId(i), {base + i, base - i, 0.5f}});
    return ledger_.Put(source, predictions);
  }

  MemoryKvStore store_;
  PredictionLedger ledger_{&store_, {}};
  const PredictionSource a_{Sha256Hex("artifact a"), Sha256Hex("transforms")};
  const PredictionSource b_{Sha256Hex("artifact b"), Sha256Hex("transforms")};
};

TEST_F(PredictionLedgerTest, JoinGivesRowsInTheOrderAskedFor) {
  ASSERT_TRUE(Put(a_, 0, 200).ok());
  ASSERT_TRUE(Put(b_, 0, 10, 1000).ok());
  store_.Crash();  // durable
  for (const std::vector<std::string>& ids : {ExampleIds(0, 200), ExampleIds(3, 200, 50),
                                              std::vector<std::string>{ExampleId(9), ExampleId(2), ExampleId(9)}}) {
    const auto matrix = ledger_.Read(*ledger_.Snapshot(), a_, ids);
    ASSERT_TRUE(matrix.ok()) << matrix.status();
    ASSERT_EQ(matrix->num_examples, static_cast<int64_t>(ids.size()));
    ASSERT_EQ(matrix->num_outputs, 3);
    for (size_t row = 0; row < ids.size(); ++row) {
      const int i = static_cast<int>(matrix->Row(row)[0]);
      EXPECT_EQ(ExampleId(i), ids[row]);
      EXPECT_EQ(matrix->Row(row)[1], -i);
      EXPECT_EQ(matrix->Row(row)[2], 0.5f);
    }
  }
  const auto other = ledger_.Read(*ledger_.Snapshot(), b_, ExampleIds(5, 6));
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->Row(0)[0], 1005);
}

TEST_F(PredictionLedgerTest, LogitsKeepTheirBits) {
  const std::vector<float> logits = {std::nanf("3"), -0.0f, 1e-45f, INFINITY};
  ASSERT_TRUE(ledger_.Put(a_, {{ExampleId(1), logits}}).ok());
  const auto matrix = ledger_.Read(store_, a_, ExampleIds(1, 2));
  ASSERT_TRUE(matrix.ok());
  ASSERT_EQ(matrix->logits.size(), logits.size());
  EXPECT_EQ(std::memcmp(matrix->logits.data(), logits.data(), sizeof(float) * logits.size()), 0);
}

TEST_F(PredictionLedgerTest, FindsWhatIsMissingInOrder) {
  ASSERT_TRUE(Put(a_, 0, 100).ok());
  EXPECT_THAT(*ledger_.FindMissing(a_, ExampleIds(0, 100)), IsEmpty());
  EXPECT_EQ(*ledger_.FindMissing(a_, ExampleIds(90, 120)), ExampleIds(100, 120));
  EXPECT_EQ(*ledger_.FindMissing(b_, ExampleIds(0, 50)), ExampleIds(0, 50));
  const PredictionSource other_transforms{a_.artifact_hash, Sha256Hex("other")};
  EXPECT_EQ(ledger_.FindMissing(other_transforms, ExampleIds(0, 2))->size(), 2u);
  const absl::Status status = ledger_.Read(store_, a_, ExampleIds(98, 103)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("3 of 5 examples have none, the first is " + ExampleId(100)));
}

TEST_F(PredictionLedgerTest, ASnapshotDoesNotMove) {
  ASSERT_TRUE(Put(a_, 0, 3).ok());
  const auto view = ledger_.Snapshot();
  ASSERT_TRUE(Put(a_, 0, 3, 100).ok());
  ASSERT_TRUE(ledger_.Delete(a_).ok());
  const auto matrix = ledger_.Read(*view, a_, ExampleIds(0, 3));
  ASSERT_TRUE(matrix.ok()) << matrix.status();
  EXPECT_EQ(matrix->Row(2)[0], 2);
  EXPECT_EQ(*ledger_.Count(a_), 0);
}

TEST_F(PredictionLedgerTest, CountAndDeleteAreOfOneSource) {
  ASSERT_TRUE(Put(a_, 0, 30).ok());
  ASSERT_TRUE(Put(a_, 10, 30).ok());  // replaced, not doubled
  ASSERT_TRUE(Put(b_, 0, 5).ok());
  EXPECT_EQ(*ledger_.Count(a_), 30);
  ASSERT_TRUE(ledger_.Delete(a_).ok());
  EXPECT_EQ(*ledger_.Count(a_), 0);
  EXPECT_EQ(*ledger_.Count(b_), 5);
}

TEST_F(PredictionLedgerTest, EmptyJoins) {
  const auto matrix = ledger_.Read(store_, a_, {});
  ASSERT_TRUE(matrix.ok());
  EXPECT_EQ(matrix->num_examples, 0);
  EXPECT_THAT(*ledger_.FindMissing(a_, {}), IsEmpty());
  EXPECT_TRUE(ledger_.Put(a_, {}).ok());
}

TEST_F(PredictionLedgerTest, DamageIsDataLoss) {
  ASSERT_TRUE(Put(a_, 0, 2).ok());
  const std::string key = PredictionKey(a_.artifact_hash, a_.transforms_hash, ExampleId(0));
  const std::string other_key = PredictionKey(a_.artifact_hash, a_.transforms_hash, ExampleId(1));
  const std::string good = **store_.Get(key);
  std::vector<std::string> bad_values = {"", good.substr(0, 7), **store_.Get(other_key)};
  for (size_t i = 0; i < good.size(); ++i) {
    bad_values.push_back(good);
    bad_values.back()[i] ^= 0x10;
  }
  for (const std::string& bad : bad_values) {
    ASSERT_TRUE(ursa::Put(&store_, {{key, bad}}).ok());
    EXPECT_EQ(ledger_.Read(store_, a_, ExampleIds(0, 2)).status().code(), absl::StatusCode::kDataLoss);
  }
  ASSERT_TRUE(ledger_.Put(a_, {{ExampleId(0), {1}}}).ok());
  const absl::Status status = ledger_.Read(store_, a_, ExampleIds(0, 2)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("logits, others have"));
}

TEST_F(PredictionLedgerTest, BadInputIsRefusedWhole) {
  EXPECT_EQ(ledger_.Put(a_, {{ExampleId(0), {1}}, {"e17", {1}}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ledger_.Put({"x", a_.transforms_hash}, {}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ledger_.FindMissing(a_, {"../x"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ledger_.Count({a_.artifact_hash, ""}).status().code(), absl::StatusCode::kInvalidArgument);
  PredictionLedger::Options options;
  options.put_predictions_max = 1;
  options.logits_max = 2;
  PredictionLedger small(&store_, options);
  EXPECT_EQ(small.Put(a_, {{ExampleId(0), {1}}, {ExampleId(1), {1}}}).code(), absl::StatusCode::kResourceExhausted);
  const absl::Status status = small.Put(a_, {{ExampleId(0), {1, 2, 3}}});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most 2 logits an example, got 3"));
  EXPECT_EQ(CountKeys(store_, {}), 0u);
}

}  // namespace
}  // namespace ursa
