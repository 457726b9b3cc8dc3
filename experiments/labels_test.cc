#include "experiments/labels.h"

#include <gtest/gtest.h>

#include "absl/strings/str_join.h"

namespace ursa {
namespace {

Labels Make(const std::vector<std::string>& texts) {
  Labels labels;
  for (const std::string& text : texts) *labels.Add() = *ParseLabel(text);
  return labels;
}

TEST(LabelsTest, WhatPeopleWrite) {
  for (const char* good : {"gpu=h100", "zone=Rack-7.b", "a=1", "a.b-c_d=x"}) {
    const auto label = ParseLabel(good);
    ASSERT_TRUE(label.ok()) << label.status();
    EXPECT_EQ(LabelText(*label), good);
  }
  const std::string long_text(65, 'x');
  for (const std::string& bad : std::vector<std::string>{"gpu", "", "=h100", "gpu=", "GPU=h100", "gpu=h 100", "gpu=-x",
                                                         "gpu=a=b", "gpu=\n", "gpu=" + long_text, long_text + "=x"}) {
    EXPECT_EQ(ParseLabel(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(LabelsTest, EachNameOnceAndNotTooMany) {
  EXPECT_TRUE(CheckLabels(Make({"b=1", "a=1"})).ok());
  EXPECT_NE(CheckLabels(Make({"a=1", "a=2"})).message().find("\"a\": is there twice"), std::string::npos);
  std::vector<std::string> many;
  for (int i = 0; i <= kLabelsMax; ++i) many.push_back("l" + std::to_string(i) + "=x");
  EXPECT_NE(CheckLabels(Make(many)).message().find("there are 17, at most 16"), std::string::npos);
}

TEST(LabelsTest, WhatIsGrantedComesBesideOnesOwn) {
  struct Case {
    std::vector<std::string> granted, own;
    std::string merged;
  };
  for (const Case& c : std::vector<Case>{{{}, {}, ""},
                                         {{"gpu=h100"}, {"zone=a"}, "gpu=h100,zone=a"},
                                         {{"zone=a"}, {"gpu=h100", "zone=a"}, "gpu=h100,zone=a"},
                                         {{}, {"b=1", "a=1"}, "a=1,b=1"}}) {
    Labels own = Make(c.own);
    ASSERT_TRUE(MergeLabels(Make(c.granted), &own).ok());
    EXPECT_EQ(absl::StrJoin(LabelTexts(own), ","), c.merged);
  }
  Labels own = Make({"gpu=a100"});
  const absl::Status status = MergeLabels(Make({"gpu=h100"}), &own);
  EXPECT_EQ(status.message(), "label \"gpu\": is \"a100\" here and \"h100\" there");
}

}  // namespace
}  // namespace ursa
