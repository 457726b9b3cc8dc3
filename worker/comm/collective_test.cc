// What every Collective must do, shown by the real one (Gloo) and by the fake; and the Reducer over both.
#include "worker/comm/collective.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <limits>
#include <thread>

#include "absl/time/clock.h"
#include "worker/comm/data_parallel.h"
#include "worker/comm/gloo_collective.h"
#include "worker/comm/local_rendezvous.h"
#include "worker/comm/thread_collective.h"

namespace ursa {
namespace {

enum class Kind { kThreads, kGloo };

// Runs `body` on `world` threads, each with its rank's collective.
void ForEachRank(Kind kind, int world, const std::function<void(std::unique_ptr<Collective>)>& body) {
  auto store = std::make_shared<MemoryRendezvousStore>();
  auto fakes = MakeThreadCollectives(world);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      if (kind == Kind::kThreads) {
        body(std::move(fakes[static_cast<size_t>(rank)]));
        return;
      }
      GlooOptions options;
      options.rank = rank;
      options.world_size = world;
      options.timeout = absl::Seconds(30);
      auto collective = MakeGlooCollective(store, options);
      ASSERT_TRUE(collective.ok()) << collective.status();
      body(*std::move(collective));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

class CollectiveTest : public ::testing::TestWithParam<Kind> {};

TEST_P(CollectiveTest, SumsOfEveryType) {
  ForEachRank(GetParam(), 3, [](std::unique_ptr<Collective> collective) {
    EXPECT_EQ(collective->world_size(), 3);
    const int rank = collective->rank();
    for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kLong}) {
      const at::Tensor tensor = at::arange(1000).to(type) * (rank + 1);
      ASSERT_TRUE(collective->AllReduceSum(tensor).ok());
      EXPECT_TRUE(at::equal(tensor, at::arange(1000).to(type) * 6)) << type;
    }
  });
}

TEST_P(CollectiveTest, SumsWrapAround) {
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    const at::Tensor tensor = at::full({1}, std::numeric_limits<int64_t>::max(), at::kLong);
    ASSERT_TRUE(collective->AllReduceSum(tensor).ok());
    EXPECT_EQ(tensor.item<int64_t>(), -2);
  });
}

TEST_P(CollectiveTest, SumIsTheSameOnEveryRank) {
  std::vector<at::Tensor> results(3);
  ForEachRank(GetParam(), 3, [&](std::unique_ptr<Collective> collective) {
    const int rank = collective->rank();
    const at::Tensor tensor = at::arange(10'000).to(at::kFloat).mul(0.37 * (rank + 1)).sin().div(rank + 3);
    ASSERT_TRUE(collective->AllReduceSum(tensor).ok());
    results[static_cast<size_t>(rank)] = tensor;
  });
  EXPECT_TRUE(at::equal(results[0], results[1]));
  EXPECT_TRUE(at::equal(results[0], results[2]));
}

TEST_P(CollectiveTest, BroadcastFromEachRoot) {
  ForEachRank(GetParam(), 3, [](std::unique_ptr<Collective> collective) {
    for (int root = 0; root < 3; ++root) {
      const at::Tensor tensor = at::full({5}, collective->rank() + 10, at::kFloat);
      ASSERT_TRUE(collective->Broadcast(tensor, root).ok());
      EXPECT_TRUE(at::equal(tensor, at::full({5}, root + 10, at::kFloat)));
    }
  });
}

TEST_P(CollectiveTest, BarrierHoldsEveryRank) {
  std::atomic<int> arrived{0};
  ForEachRank(GetParam(), 3, [&](std::unique_ptr<Collective> collective) {
    absl::SleepFor(absl::Milliseconds(30 * collective->rank()));  // tidy: allow(sleep-in-test) they must come late
    ++arrived;
    ASSERT_TRUE(collective->Barrier().ok());
    EXPECT_EQ(arrived, 3);
    ASSERT_TRUE(collective->Barrier().ok());
  });
}

TEST_P(CollectiveTest, DeadPeer) {
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    const at::Tensor tensor = at::ones({10});
    ASSERT_TRUE(collective->AllReduceSum(tensor).ok());
    if (collective->rank() == 1) return;  // its collective is destroyed
    absl::Status status;
    for (int i = 0; i < 3 && status.ok(); ++i) status = collective->AllReduceSum(tensor);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  });
}

TEST_P(CollectiveTest, BroadcastCoalesced) {
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    const int rank = collective->rank();
    const at::Tensor weights =
        at::arange(24).to(at::kFloat).add(100 * rank).reshape({1, 2, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor count = at::full({}, rank, at::kLong), empty = at::zeros({0});
    ASSERT_TRUE(BroadcastCoalesced(collective.get(), /*root=*/0, {weights, count, empty}).ok());
    EXPECT_TRUE(at::equal(weights, at::arange(24).to(at::kFloat).reshape({1, 2, 3, 4})));
    EXPECT_EQ(count.item<int64_t>(), 0);
  });
}

TEST_P(CollectiveTest, BroadcastCoalescedGoesToThoseThatTake) {
  // More than one message of a type.
  constexpr int64_t kLarge = 5'000'000;
  ForEachRank(GetParam(), 3, [](std::unique_ptr<Collective> collective) {
    const int rank = collective->rank();
    const at::Tensor first = at::full({kLarge}, rank, at::kFloat), second = at::full({kLarge}, 10 + rank, at::kFloat);
    const at::Tensor count = at::full({3}, rank, at::kLong);
    const at::Tensor third = rank == 2 ? at::empty({7}, at::kMeta) : at::full({7}, 20 + rank, at::kFloat);
    ASSERT_TRUE(
        BroadcastCoalesced(collective.get(), /*root=*/1, {third, first, count, second}, /*takes=*/rank != 2).ok());
    EXPECT_TRUE(rank == 2 || at::equal(third, at::full({7}, 21, at::kFloat)));
    const int expected = rank == 2 ? 2 : 1;
    EXPECT_TRUE(at::equal(first, at::full({kLarge}, expected, at::kFloat)));
    EXPECT_TRUE(at::equal(second, at::full({kLarge}, 10 + expected, at::kFloat)));
    EXPECT_TRUE(at::equal(count, at::full({3}, expected, at::kLong)));
  });
}

TEST_P(CollectiveTest, BroadcastCoalescedReplacesAllOrNothing) {
  constexpr int64_t kLarge = 7'000'000;  // a message of its own
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    if (collective->rank() == 0) {  // dies after the first message
      EXPECT_TRUE(collective->Broadcast(at::zeros({kLarge}), /*root=*/0).ok());
      return;
    }
    const at::Tensor first = at::ones({kLarge}), second = at::ones({kLarge});
    const absl::Status status = BroadcastCoalesced(collective.get(), /*root=*/0, {first, second});
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_TRUE(at::equal(first, at::ones({kLarge})));
  });
}

TEST_P(CollectiveTest, GradientsAreAveraged) {
  // Large enough for several buckets.
  constexpr int kWidth = 1100;
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    const int rank = collective->rank();
    at::Tensor first = at::ones({kWidth, kWidth}).mul(1e-3).set_requires_grad(true);
    at::Tensor second = at::ones({1, kWidth}).mul(1e-3).set_requires_grad(true);
    DataParallel data_parallel(collective.get(), {first, second});
    for (int step = 0; step < 3; ++step) {
      if (first.grad().defined()) first.grad().zero_(), second.grad().zero_();
      data_parallel.PrepareForward();
      const at::Tensor x = at::full({2, kWidth}, rank + 1.0);
      const at::Tensor loss = at::linear(at::linear(x, first), second).mean();
      ASSERT_TRUE(data_parallel.Backward(loss).ok());
      // d loss / d first[i][j] = 1e-3 * x; its mean over the ranks is 1e-3 * 1.5.
      EXPECT_TRUE(at::allclose(first.grad(), at::full({kWidth, kWidth}, 1.5e-3)));
      EXPECT_TRUE(at::allclose(second.grad(), at::full({1, kWidth}, 1e-3 * 1.5 * kWidth)));
    }
  });
}

TEST_P(CollectiveTest, BackwardReportsADeadPeer) {
  ForEachRank(GetParam(), 2, [](std::unique_ptr<Collective> collective) {
    if (collective->rank() == 1) {
      EXPECT_TRUE(collective->Barrier().ok());
      return;
    }
    EXPECT_TRUE(collective->Barrier().ok());
    absl::SleepFor(absl::Milliseconds(200));  // tidy: allow(sleep-in-test) the peer must be gone by then
    at::Tensor weight = at::ones({1, 4}).set_requires_grad(true);
    DataParallel data_parallel(collective.get(), {weight});
    absl::Status status;
    for (int i = 0; i < 3 && status.ok(); ++i) {
      data_parallel.PrepareForward();
      status = data_parallel.Backward(at::linear(at::ones({2, 4}), weight).sum());
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, CollectiveTest, ::testing::Values(Kind::kThreads, Kind::kGloo),
                         [](const auto& info) { return info.param == Kind::kGloo ? "Gloo" : "Threads"; });

TEST(GlooCollectiveTest, Errors) {
  auto store = std::make_shared<MemoryRendezvousStore>();
  GlooOptions options;
  options.rank = 2;
  options.world_size = 2;
  EXPECT_EQ(MakeGlooCollective(store, options).status().code(), absl::StatusCode::kInvalidArgument);
  options.rank = 0;
  options.connect_timeout = absl::Milliseconds(300);
  EXPECT_EQ(MakeGlooCollective(store, options).status().code(), absl::StatusCode::kUnavailable) << "no peer comes";
  options.address = "192.0.2.1";  // of no interface (TEST-NET-1)
  EXPECT_EQ(MakeGlooCollective(store, options).status().code(), absl::StatusCode::kUnavailable);
}

TEST(RendezvousStoreTest, BothKindsAgree) {
  char folder[] = "/tmp/rendezvous_XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  MemoryRendezvousStore memory;
  FileRendezvousStore file(folder);
  for (RendezvousStore* store : std::initializer_list<RendezvousStore*>{&memory, &file}) {
    EXPECT_EQ(store->Get("a/b", absl::Milliseconds(20)).status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(*store->Add("n", 3), 3);
    EXPECT_EQ(*store->Add("n", -1), 2);
    EXPECT_TRUE(store->Set("a/b", std::string("\0x", 2)).ok());
    EXPECT_EQ(*store->Get("a/b", absl::ZeroDuration()), std::string("\0x", 2));
    EXPECT_TRUE(*store->Check({"a/b", "n"}));
    EXPECT_FALSE(*store->Check({"a/b", "c"}));
    EXPECT_TRUE(*store->Delete("n"));
    EXPECT_FALSE(*store->Delete("n"));
    std::thread setter([&] { EXPECT_TRUE(store->Set("late", "x").ok()); });
    EXPECT_TRUE(store->Wait({"late"}, absl::Seconds(10)).ok());
    setter.join();
  }
}

}  // namespace
}  // namespace ursa
