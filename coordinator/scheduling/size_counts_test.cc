#include "coordinator/scheduling/size_counts.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"

namespace ursa {
namespace {

TEST(SizeCountsTest, AsAMapThatForgetsWhatIsNone) {
  SeededRng rng(1);
  SizeCounts counts;
  std::map<int32_t, int32_t> model;
  for (int step = 0; step < 2000; ++step) {
    const auto size = static_cast<int32_t>(rng.Below(20));
    const int32_t num = model.count(size) > 0 && rng.Below(2) == 0 ? -1 : 1;
    counts.Add(size, num);
    if ((model[size] += num) == 0) model.erase(size);
    ASSERT_EQ(std::vector<SizeCounts::Item>(counts.begin(), counts.end()),
              std::vector<SizeCounts::Item>(model.begin(), model.end()));
    ASSERT_EQ(counts.empty(), model.empty());
    const auto least = static_cast<int32_t>(rng.Below(22));
    const auto found = counts.lower_bound(least);
    const auto expected = model.lower_bound(least);
    ASSERT_EQ(found == counts.end(), expected == model.end());
    if (found != counts.end()) {
      ASSERT_EQ(found->first, expected->first);
    }
  }
}

}  // namespace
}  // namespace ursa
