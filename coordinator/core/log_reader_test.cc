// Reading, searching and keeping what tasks print.
#include "coordinator/core/log_reader.h"

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/core/coordinator_testing.h"
#include "coordinator/core/log_janitor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ursa {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LogReaderTest : public ::testing::Test {
 protected:
  LogReaderTest() {
    harness_.options().page_bytes_max = 400;  // a hundred bytes of log an answer
    harness_.options().log_retention.age_max = absl::Hours(1);
    harness_.Restart();
    harness_.Connect(&worker_);
    harness_.MakeDataset(&worker_, "bears");
    EXPECT_TRUE(harness_.Submit("bears").ok());
  }

  // Rank prints `text` right after what it printed before.
  void Print(int32_t rank, const std::string& text) {
    worker::v1::TaskEvent event;
    event.mutable_log()->set_offset(printed_[rank]);
    event.mutable_log()->set_data(text);
    printed_[rank] += static_cast<int64_t>(text.size());
    harness_.Report(&worker_, "t1.1", 1, rank, std::move(event));
  }
  void LeaveOut(int32_t rank, int64_t num_bytes) {
    worker::v1::TaskEvent event;
    event.mutable_log()->set_offset(printed_[rank]);
    event.mutable_log()->set_num_left_out_bytes(num_bytes);
    printed_[rank] += num_bytes;
    harness_.Report(&worker_, "t1.1", 1, rank, std::move(event));
  }

  static v1::ReadLogsRequest Request(const std::string& pattern, int64_t max_lines = 0) {
    v1::ReadLogsRequest request;
    request.set_parent("experiments/e1");
    request.set_pattern(pattern);
    request.set_max_lines(max_lines);
    return request;
  }
  // "rank@offset text" of all lines, and where the reading ended.
  std::vector<std::string> Read(const v1::ReadLogsRequest& request, std::string* token = nullptr) {
    auto reader = LogReader::Make(&harness_.coordinator().env(), request);
    EXPECT_TRUE(reader.ok()) << reader.status();
    std::vector<std::string> lines;
    num_pages_ = 0;
    for (bool is_end = false; !is_end;) {
      const auto page = (*reader)->Next(1);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      ++num_pages_;
      for (const v1::LogLine& line : page->response.lines()) {
        lines.push_back(absl::StrCat(line.rank(), "@", line.offset(), " ", line.text()));
      }
      if (token != nullptr) *token = page->response.page_token();
      is_end = page->is_end;
    }
    return lines;
  }
  std::string Refusal(const v1::ReadLogsRequest& request) {
    const auto reader = LogReader::Make(&harness_.coordinator().env(), request);
    EXPECT_EQ(reader.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(reader.status().message());
  }

  Harness harness_;
  FakeWorker worker_;
  int64_t printed_[2] = {0, 0};
  int num_pages_ = 0;
};

TEST_F(LogReaderTest, FindsLinesByPatternRankAndLimit) {
  for (int i = 0; i < 100; ++i) Print(i % 2, absl::StrCat("step ", i, i == 41 ? " Loss is NaN" : "", "\n"));
  EXPECT_EQ(Read(Request("")).size(), 100u);
  EXPECT_GT(num_pages_, 5);
  EXPECT_THAT(Read(Request("(?i)nan")), ElementsAre("1@155 step 41 Loss is NaN"));
  EXPECT_GT(num_pages_, 5) << "a search is cut into pieces as a reading is";
  v1::ReadLogsRequest of_rank = Request("step 4.$", 3);
  of_rank.set_rank(0);
  EXPECT_THAT(Read(of_rank), ElementsAre("0@155 step 40", "0@163 step 42", "0@171 step 44"));
  EXPECT_THAT(Read(Request("\\.")), IsEmpty());
}

TEST_F(LogReaderTest, AReadingGoesOnWhereItsLimitEndedIt) {
  Print(0, "a1\nb\na2\na3\n");
  Print(1, "a4\na5\n");
  std::vector<std::string> all;
  v1::ReadLogsRequest request = Request("a", 2);
  for (int i = 0; i < 4; ++i) {
    std::string token;
    for (const std::string& line : Read(request, &token)) all.push_back(line);
    request.set_page_token(token);
  }
  EXPECT_THAT(all, ElementsAre("0@0 a1", "0@5 a2", "0@8 a3", "1@0 a4", "1@3 a5"));
  Print(0, "a6\n");
  EXPECT_THAT(Read(request), ElementsAre("0@11 a6"));
}

TEST_F(LogReaderTest, WhatIsMissingIsSaidInASearchToo) {
  Print(0, "one\n");
  LeaveOut(0, 100'000'000);
  Print(0, "two\n");
  EXPECT_THAT(Read(Request("two")),
              ElementsAre("0@4 [95.4 MiB of rank 0 are left out here: they were printed faster than they can be kept]",
                          "0@100000004 two"));
}

TEST_F(LogReaderTest, BadRequestsAreRefused) {
  EXPECT_THAT(Refusal(Request("loss(")), HasSubstr("pattern \"loss(\": missing )"));
  EXPECT_THAT(Refusal(Request(std::string(1001, 'x'))), HasSubstr("at most 1000 bytes, has 1001"));
  EXPECT_THAT(Refusal(Request("x", -1)), HasSubstr("max_lines: -1 is negative"));
  v1::ReadLogsRequest request = Request("");
  request.set_rank(-1);
  EXPECT_THAT(Refusal(request), HasSubstr("rank: -1 is negative"));
  for (const char* token : {"x", "1+", "-1", "0+3", "1+2+3"}) {
    request = Request("");
    request.set_page_token(token);
    if (std::string(token) == "1+") continue;  // no lines: as "1"
    EXPECT_THAT(Refusal(request), HasSubstr("page_token")) << token;
  }
}

TEST_F(LogReaderTest, RetentionIsAppliedAsTimePasses) {
  Print(0, "old\n");
  harness_.Advance(absl::Minutes(40), {&worker_});
  Print(0, "young\n");
  harness_.Advance(absl::Minutes(40), {&worker_});
  EXPECT_THAT(Read(Request("young")),
              ElementsAre("0@0 [4 bytes of rank 0 before this were deleted by the retention policy]", "0@4 young"));
}

TEST(LogRetentionTest, Flag) {
  constexpr int64_t kInf = std::numeric_limits<int64_t>::max();
  const LogRetentionOptions defaults;
  struct Case {
    const char* text;
    absl::Duration age_max;
    int64_t bytes_max;
  };
  for (const Case& c :
       {Case{"72h", absl::Hours(72), defaults.trial_bytes_max}, Case{"90m,512MiB", absl::Minutes(90), 512 << 20},
        Case{"inf,inf", absl::InfiniteDuration(), kInf}, Case{"1h,1000", absl::Hours(1), 1000}}) {
    const auto options = ParseLogRetention(c.text, defaults);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->age_max, c.age_max) << c.text;
    EXPECT_EQ(options->trial_bytes_max, c.bytes_max) << c.text;
  }
  for (const char* text : {"", "-1h", "0s", "week", "1h,", "1h,2,3", "1h,-1", "1h,1XiB", "1h,9999999999GiB"}) {
    EXPECT_EQ(ParseLogRetention(text, defaults).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace ursa
