#include "client/cli/output.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace ursa::cli {
namespace {

// What has been written to a stream.
std::string Written(std::FILE* file) {
  std::string text;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) text.push_back(static_cast<char>(c));
  return text;
}

class OutputTest : public ::testing::Test {
 protected:
  ~OutputTest() override {
    std::fclose(out_);
    std::fclose(err_);
  }
  std::FILE* out_ = std::tmpfile();
  std::FILE* err_ = std::tmpfile();
};

TEST_F(OutputTest, TextOrJsonNeverBoth) {
  Output people(out_, err_, /*json=*/false, false, false);
  people.Print("text\n");
  people.PrintJson(Json(1));
  Output scripts(out_, err_, /*json=*/true, false, false);
  scripts.Print("more text\n");
  scripts.PrintJson(Json(2));
  EXPECT_TRUE(scripts.Flush());
  EXPECT_EQ(Written(out_), "text\n2\n");
}

TEST_F(OutputTest, ProgressIsDrawnOnATerminalOnlyAndClearedBeforeText) {
  Output piped(out_, err_, false, /*out_is_terminal=*/false, /*err_is_terminal=*/false);
  piped.SetStatusLine("50 %");
  EXPECT_EQ(Written(err_), "");
  Output script(out_, err_, /*json=*/true, true, true);
  script.SetStatusLine("50 %");
  EXPECT_EQ(Written(err_), "");
  Output terminal(out_, err_, false, true, true);
  terminal.SetStatusLine("50 %");
  terminal.Print("row\n");
  EXPECT_EQ(Written(err_), "\r50 %\x1b[K\r\x1b[K");
}

TEST_F(OutputTest, AFullDiskIsNoticed) {
  std::FILE* full = std::fopen("/dev/full", "w");
  ASSERT_NE(full, nullptr);
  Output output(full, err_, false, false, false);
  output.Print("text\n");
  EXPECT_FALSE(output.Flush());
  std::fclose(full);
}

TEST(ProgressLineTest, RateAndTimeLeftOnceTheyAreKnown) {
  EXPECT_EQ(ProgressLine("uploading", "", Progress::Unit::kBytes, 0, 38'000'000, 0, 0),
            "uploading  [--------------------]    0%  0 B of 38 MB");
  EXPECT_EQ(ProgressLine("uploading", "", Progress::Unit::kBytes, 12'000'000, 38'000'000, 2'000'000, 2),
            "uploading  [######--------------]   32%  12 MB of 38 MB  5.0 MB/s  5.2s left");
  EXPECT_EQ(ProgressLine("checking", "pictures", Progress::Unit::kCount, 1500, 1500, 0, 10),
            "checking  [####################]  100%  1 500 of 1 500 pictures  150/s  0.0s left");
  EXPECT_EQ(ProgressLine("checking", "pictures", Progress::Unit::kCount, 0, 0, 0, 10),
            "checking  [--------------------]    0%  0 of 0 pictures");
}

}  // namespace
}  // namespace ursa::cli
