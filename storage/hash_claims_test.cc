#include "storage/hash_claims.h"

#include <chrono>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(HashClaimsTest, OverlappingSetsExcludeEachOtherWithoutDeadlock) {
  HashClaims claims;
  int unguarded = 0;  // "b" is in every set, so the claims must serialise these increments
  std::vector<std::thread> threads;
  for (const std::set<std::string>& hashes :
       {std::set<std::string>{"a", "b"}, std::set<std::string>{"b", "c"}, std::set<std::string>{"b"}}) {
    threads.emplace_back([&claims, &unguarded, hashes] {
      for (int i = 0; i < 500; ++i) {
        const HashClaims::Claim claim(&claims, hashes);
        ++unguarded;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(unguarded, 1500);
}

TEST(HashClaimsTest, DisjointSetsDoNotWait) {
  HashClaims claims;
  auto first = std::make_unique<HashClaims::Claim>(&claims, std::set<std::string>{"a"});
  std::future<void> others = std::async(std::launch::async, [&claims] {
    const HashClaims::Claim second(&claims, {"b"});
    const HashClaims::Claim none(&claims, {});
  });
  EXPECT_EQ(others.wait_for(std::chrono::seconds(30)), std::future_status::ready)
      << "waits for a claim on another hash";
  first.reset();  // so that a failure is told instead of hanging
}

}  // namespace
}  // namespace ursa
