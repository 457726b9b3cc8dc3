#include "client/cli/table.h"

#include <gtest/gtest.h>

namespace ursa::cli {
namespace {

TEST(TableTest, ColumnsAreAlignedNumbersToTheRight) {
  Table table({"id", "state", "slots", "why"});
  table.AddRow({"w1", "ALIVE", "2", "bär"});
  table.AddRow({"w12", "LOST", "16"});
  EXPECT_EQ(table.Render(),
            "id   state  slots  why\n"
            "w1   ALIVE      2  bär\n"
            "w12  LOST      16\n");
  EXPECT_EQ(table.num_rows(), 2u);
}

TEST(TableTest, MissingNumbersAreDashes) {
  Table table({"value"});
  table.AddRow({"1.5"});
  table.AddRow({"-"});
  EXPECT_EQ(table.Render(), "value\n  1.5\n    -\n");
}

TEST(TableTest, CellsCannotSteerTheTerminal) {
  Table table({"name", "next"});
  table.AddRow({"a\nb", "c"});
  EXPECT_EQ(table.Render(), "name  next\na\\nb  c\n");
}

TEST(TableTest, AnEmptyTableIsItsHeader) { EXPECT_EQ(Table({"a", "b"}).Render(), "a  b\n"); }

TEST(TableTest, FixedRowsAlignToTheRight) {
  EXPECT_EQ(FixedRow({"0", "0.5", "12.0s"}, {5, 10, 7}), "    0         0.5    12.0s");
  EXPECT_EQ(FixedRow({"toolong"}, {3}), "toolong");
}

}  // namespace
}  // namespace ursa::cli
