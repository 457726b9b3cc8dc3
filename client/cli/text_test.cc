#include "client/cli/text.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ursa::cli {
namespace {

TEST(TextTest, PrintableTextCannotSteerATerminal) {
  EXPECT_EQ(Printable("a\x1b[31mb\nc\td\x7f"), "a\\x1b[31mb\\nc d\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");  // CSI as one C1 control
  EXPECT_EQ(Printable("bär \xc2\xa0"), "bär \xc2\xa0");
  EXPECT_EQ(Printable("\xc2"), "\xef\xbf\xbd");
}

TEST(TextTest, WidthCountsCodePoints) {
  EXPECT_EQ(DisplayWidth("bär"), 3u);
  EXPECT_EQ(DisplayWidth(""), 0u);
}

TEST(TextTest, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.0 KB");
  EXPECT_EQ(FormatBytes(9949), "9.9 KB");
  EXPECT_EQ(FormatBytes(9951), "10 KB");
  EXPECT_EQ(FormatBytes(999'600), "1.0 MB");
  EXPECT_EQ(FormatBytes(23.4e6), "23 MB");
  EXPECT_EQ(FormatBytes(5e15), "5.0 PB");
}

TEST(TextTest, Seconds) {
  EXPECT_EQ(FormatSeconds(4.24), "4.2s");
  EXPECT_EQ(FormatSeconds(59.96), "1m00s");
  EXPECT_EQ(FormatSeconds(200), "3m20s");
  EXPECT_EQ(FormatSeconds(7500), "2h05m");
  EXPECT_EQ(FormatSeconds(std::nan("")), "-");
  EXPECT_EQ(FormatSeconds(-1), "-");
}

TEST(TextTest, Counts) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1 000");
  EXPECT_EQ(FormatCount(-1234567), "-1 234 567");
  EXPECT_EQ(Plural(1, "file", "files"), "1 file");
  EXPECT_EQ(Plural(60000, "file", "files"), "60 000 files");
}

TEST(TextTest, Metrics) {
  EXPECT_EQ(FormatMetric(0.0240963855), "0.024096");
  EXPECT_EQ(FormatMetric(std::nan("")), "-");
}

}  // namespace
}  // namespace ursa::cli
