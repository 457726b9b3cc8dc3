#include "storage/kv_store_conformance.h"

#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "storage/kv_testing.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

std::string Value(const KvReader& reader, std::string_view key) {
  const auto value = reader.Get(key);
  EXPECT_TRUE(value.ok()) << value.status();
  return value.ok() && value->has_value() ? **value : "(none)";
}

TEST_P(KvStoreConformanceTest, EmptyStoreHasNothing) {
  EXPECT_EQ(Value(store(), "a"), "(none)");
  EXPECT_THAT(Scan(store(), {}), IsEmpty());
  EXPECT_EQ(*store().LastKey({}), std::nullopt);
}

TEST_P(KvStoreConformanceTest, BatchAppliesInOrder) {
  WriteBatch batch;
  batch.Put("a", "1");
  batch.Put("a", "2");
  batch.Put("b", "3");
  batch.Delete("b");
  batch.Put("c1", "4");
  batch.Put("c2", "5");
  batch.DeleteRange("c1", "c2");
  batch.DeleteRange("z", "a");  // empty range
  ASSERT_TRUE(store().Write(batch, Durability::kSynced).ok());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"a", "2"}, KeyValue{"c2", "5"}));
}

TEST_P(KvStoreConformanceTest, DeleteRangeSparesItsEndAndLaterPuts) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"b", "2"}, {"c", "3"}}).ok());
  WriteBatch batch;
  batch.DeleteRange("a", "c");
  batch.Put("b", "4");
  ASSERT_TRUE(store().Write(batch, Durability::kBuffered).ok());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"b", "4"}, KeyValue{"c", "3"}));
}

TEST_P(KvStoreConformanceTest, KeysCompareAsUnsignedBytes) {
  const std::string zero("\0", 1), high("\xff", 1);
  ASSERT_TRUE(Put(&store(), {{"a", "2"}, {high, "3"}, {zero, "1"}, {high + high, "4"}}).ok());
  EXPECT_THAT(Scan(store(), {}),
              ElementsAre(KeyValue{zero, "1"}, KeyValue{"a", "2"}, KeyValue{high, "3"}, KeyValue{high + high, "4"}));
  EXPECT_THAT(Scan(store(), PrefixRange(high)), ElementsAre(KeyValue{high, "3"}, KeyValue{high + high, "4"}));
}

TEST_P(KvStoreConformanceTest, ValuesOfAllSizes) {
  std::map<std::string, std::string> expected;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{65535}, size_t{65536}, size_t{3} << 20}) {
    std::string value(size, 'x');
    for (size_t i = 0; i < size; i += 37) value[i] = static_cast<char>(i * 2654435761u >> 24);
    expected[std::to_string(size)] = value;
    ASSERT_TRUE(Put(&store(), {{std::to_string(size), value}}).ok());
  }
  for (int round = 0; round < 2; ++round) {
    for (const auto& [key, value] : expected) EXPECT_TRUE(Value(store(), key) == value) << "size " << key;
    harness_->Reopen();
  }
}

TEST_P(KvStoreConformanceTest, MultiGetKeepsOrderAndRepeats) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"c", "3"}}).ok());
  const auto values = store().MultiGet({"c", "b", "a", "c"});
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_THAT(*values, ElementsAre(Optional(std::string("3")), std::nullopt, Optional(std::string("1")),
                                   Optional(std::string("3"))));
  EXPECT_THAT(*store().MultiGet({}), IsEmpty());
}

TEST_P(KvStoreConformanceTest, MultiGetOfManyKeys) {
  WriteBatch batch;
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) {
    keys.push_back(std::to_string(i));
    if (i % 3 != 0) batch.Put(keys.back(), "v" + keys.back());
  }
  ASSERT_TRUE(store().Write(batch, Durability::kSynced).ok());
  const auto values = store().MultiGet(keys);
  ASSERT_TRUE(values.ok()) << values.status();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ((*values)[i], i % 3 == 0 ? std::nullopt : std::optional<std::string>("v" + keys[i]));
  }
}

TEST_P(KvStoreConformanceTest, IteratorStaysInItsRange) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"b", "2"}, {"b1", "3"}, {"c", "4"}, {"d", "5"}}).ok());
  EXPECT_THAT(Scan(store(), {"b", "d"}), ElementsAre(KeyValue{"b", "2"}, KeyValue{"b1", "3"}, KeyValue{"c", "4"}));
  EXPECT_THAT(Scan(store(), {"c", ""}), ElementsAre(KeyValue{"c", "4"}, KeyValue{"d", "5"}));
  EXPECT_THAT(Scan(store(), {"e", ""}), IsEmpty());
  const std::unique_ptr<KvIterator> iterators[] = {store().NewIterator({"b", "d"}), store().NewScan({"b", "d"})};
  for (const auto& iterator : iterators) {
    iterator->Seek("a");
    ASSERT_TRUE(iterator->Valid());
    EXPECT_EQ(iterator->key(), "b");
    iterator->Seek("b2");
    ASSERT_TRUE(iterator->Valid());
    EXPECT_EQ(iterator->key(), "c");
    iterator->Next();
    EXPECT_FALSE(iterator->Valid());
    iterator->Seek("d");
    EXPECT_FALSE(iterator->Valid());
    EXPECT_TRUE(iterator->status().ok());
  }
}

TEST_P(KvStoreConformanceTest, LastKeyOfRange) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"b", "2"}, {"c", "3"}}).ok());
  EXPECT_EQ(*store().LastKey({}), "c");
  EXPECT_EQ(*store().LastKey({"a", "c"}), "b");
  EXPECT_EQ(*store().LastKey({"a", "bb"}), "b");
  EXPECT_EQ(*store().LastKey({"bb", "c"}), std::nullopt);
  EXPECT_EQ(*store().LastKey({"d", ""}), std::nullopt);
}

TEST_P(KvStoreConformanceTest, ViewsDoNotMove) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"b", "2"}}).ok());
  const auto snapshot = store().Snapshot();
  const auto iterator = store().NewIterator({});
  WriteBatch batch;
  batch.Put("a", "9");
  batch.Delete("b");
  batch.Put("c", "3");
  ASSERT_TRUE(store().Write(batch, Durability::kBuffered).ok());
  const auto load = store().NewSortedLoad();
  ASSERT_TRUE(load->Add("a", "loaded").ok());
  ASSERT_TRUE(load->Commit().ok());

  EXPECT_EQ(Value(*snapshot, "a"), "1");
  EXPECT_EQ(Value(*snapshot, "c"), "(none)");
  EXPECT_THAT(*snapshot->MultiGet({"b", "c"}), ElementsAre(Optional(std::string("2")), std::nullopt));
  EXPECT_THAT(Scan(*snapshot, {}), ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "2"}));
  EXPECT_EQ(*snapshot->LastKey({}), "b");
  EXPECT_EQ(iterator->value(), "1");
  iterator->Next();
  ASSERT_TRUE(iterator->Valid());
  EXPECT_EQ(iterator->value(), "2");
  iterator->Next();
  EXPECT_FALSE(iterator->Valid());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"a", "loaded"}, KeyValue{"c", "3"}));
}

TEST_P(KvStoreConformanceTest, LoadIsInvisibleUntilCommitted) {
  ASSERT_TRUE(Put(&store(), {{"b", "old"}}).ok());
  const auto load = store().NewSortedLoad();
  ASSERT_TRUE(load->Add("a", "1").ok());
  ASSERT_TRUE(load->Add("b", "2").ok());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"b", "old"}));
  ASSERT_TRUE(load->Commit().ok());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"a", "1"}, KeyValue{"b", "2"}));
  ASSERT_TRUE(Put(&store(), {{"b", "3"}}).ok());
  EXPECT_EQ(Value(store(), "b"), "3");
}

TEST_P(KvStoreConformanceTest, DroppedAndEmptyLoadsLeaveNothing) {
  {
    const auto load = store().NewSortedLoad();
    ASSERT_TRUE(load->Add("a", "1").ok());
  }
  EXPECT_TRUE(store().NewSortedLoad()->Commit().ok());
  EXPECT_THAT(Scan(store(), {}), IsEmpty());
}

TEST_P(KvStoreConformanceTest, LoadRefusesKeysOutOfOrder) {
  const auto load = store().NewSortedLoad();
  EXPECT_EQ(load->Add("", "1").code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(load->Add("b", "1").ok());
  EXPECT_EQ(load->Add("b", "2").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(load->Add("a", "2").code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(load->Add("c", "3").ok());
  ASSERT_TRUE(load->Commit().ok());
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"b", "1"}, KeyValue{"c", "3"}));
}

TEST_P(KvStoreConformanceTest, LoadOfManyPrefixesAndSizes) {
  SeededRng rng(7);
  std::map<std::string, std::string> expected;
  const auto load = store().NewSortedLoad();
  for (const char prefix : {'b', 'c', 'x'}) {
    for (int i = 0; i < 200; ++i) {
      std::string key(1, prefix);
      key += static_cast<char>(i);
      expected[key] = std::string(rng.Below(20000), static_cast<char>(rng.Next()));
    }
  }
  for (const auto& [key, value] : expected) ASSERT_TRUE(load->Add(key, value).ok());
  ASSERT_TRUE(load->Commit().ok());
  harness_->Reopen();
  const std::vector<KeyValue> found = Scan(store(), {});
  ASSERT_EQ(found.size(), expected.size());
  for (const KeyValue& entry : found) EXPECT_TRUE(entry.second == expected[entry.first]);
}

TEST_P(KvStoreConformanceTest, WritesSurviveAReopen) {
  ASSERT_TRUE(Put(&store(), {{"a", "1"}, {"b", "2"}}, Durability::kBuffered).ok());
  WriteBatch batch;
  batch.Delete("a");
  ASSERT_TRUE(store().Write(batch, Durability::kSynced).ok());
  const auto load = store().NewSortedLoad();
  ASSERT_TRUE(load->Add("c", "3").ok());
  ASSERT_TRUE(load->Commit().ok());
  harness_->Reopen();
  EXPECT_THAT(Scan(store(), {}), ElementsAre(KeyValue{"b", "2"}, KeyValue{"c", "3"}));
}

// Random operations against a std::map.
TEST_P(KvStoreConformanceTest, AgreesWithAModel) {
  SeededRng rng(20260101);
  std::map<std::string, std::string> model;
  const auto random_key = [&rng] { return std::string(1 + rng.Below(3), static_cast<char>('a' + rng.Below(4))); };
  for (int round = 0; round < 300; ++round) {
    WriteBatch batch;
    for (uint64_t i = rng.Below(6); i > 0; --i) {
      const std::string key = random_key();
      switch (rng.Below(4)) {
        case 0:
          batch.Delete(key);
          model.erase(key);
          break;
        case 1: {
          const std::string end = random_key();
          batch.DeleteRange(key, end);
          if (key < end) model.erase(model.lower_bound(key), model.lower_bound(end));
          break;
        }
        default:
          batch.Put(key, std::to_string(round));
          model[key] = std::to_string(round);
      }
    }
    ASSERT_TRUE(store().Write(batch, rng.Below(8) == 0 ? Durability::kSynced : Durability::kBuffered).ok());
    if (round % 50 == 49) harness_->Reopen();
    ASSERT_EQ(Scan(store(), {}), std::vector<KeyValue>(model.begin(), model.end())) << "round " << round;
  }
}

// Each writer counts up under two keys in one batch; a reader must never see the two differ.
TEST_P(KvStoreConformanceTest, BatchesAreAtomicToReadersOfAView) {
  constexpr int kWriters = 3, kRounds = 200;
  std::atomic<int> num_running{kWriters};
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([this, w, &num_running] {
      for (int i = 0; i < kRounds; ++i) {
        const std::string value = std::to_string(i);
        EXPECT_TRUE(
            Put(&store(), {{"x" + std::to_string(w), value}, {"y" + std::to_string(w), value}}, Durability::kBuffered)
                .ok());
      }
      --num_running;
    });
  }
  while (num_running > 0) {
    const auto view = store().Snapshot();
    for (int w = 0; w < kWriters; ++w) {
      ASSERT_EQ(Value(*view, "x" + std::to_string(w)), Value(*view, "y" + std::to_string(w)));
    }
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(Value(store(), "x0"), std::to_string(kRounds - 1));
}

}  // namespace
}  // namespace ursa
