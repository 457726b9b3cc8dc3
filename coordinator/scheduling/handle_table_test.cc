#include "coordinator/scheduling/handle_table.h"

#include <gtest/gtest.h>

namespace ursa {
namespace {

TEST(HandleTableTest, GivesOutTheLowestThatIsNewAndFirstWhatWasGivenBack) {
  HandleTable<int> table;
  for (int32_t handle = 0; handle < 1000; ++handle) {
    EXPECT_EQ(table.Add(), handle);
    table[handle] = handle;
  }
  table.GiveBack(3);
  table.GiveBack(700);
  EXPECT_EQ(table[3], 3);  // until it is used again
  EXPECT_EQ(table.Add(), 700);
  EXPECT_EQ(table.Add(), 3);
  EXPECT_EQ(table.Add(), 1000);
  EXPECT_EQ(table.num_handles(), 1001);
}

TEST(HandleTableTest, AnEntryStaysWhereItIs) {
  HandleTable<int> table;
  const int* first = &table[table.Add()];
  for (int i = 0; i < 1000; ++i) table.Add();
  EXPECT_EQ(first, &table[0]);
}

TEST(HandleTableTest, ACopyIsAValue) {
  HandleTable<int> table;
  table[table.Add()] = 1;
  HandleTable<int> copy = table;
  copy[0] = 2;
  EXPECT_EQ(copy.Add(), 1);
  EXPECT_EQ(table[0], 1);
  EXPECT_EQ(table.num_handles(), 1);
}

}  // namespace
}  // namespace ursa
