#include "base/text.h"

#include "gtest/gtest.h"

namespace ursa {
namespace {

TEST(Utf8Test, WhatIsWellFormedStaysAndTheRestIsReplaced) {
  for (const char* good :
       {"", "a", "bär", "日本", "\xf0\x9f\x90\xbb", "\xf4\x8f\xbf\xbf", "\xee\x80\x80", "a\n", "\xc2\x85"}) {
    EXPECT_TRUE(IsValidUtf8(good)) << good;
    EXPECT_EQ(ToValidUtf8(good), good);
  }
  // Lone continuation, overlong, surrogate, past U+10FFFF, cut off, Latin-1.
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xe6\x97", "\xc3", "\xc3(", "\xe9"}) {
    EXPECT_FALSE(IsValidUtf8(bad)) << testing::PrintToString(bad);
    EXPECT_TRUE(IsValidUtf8(ToValidUtf8(bad))) << testing::PrintToString(bad);
    EXPECT_FALSE(IsPrintableUtf8(bad)) << testing::PrintToString(bad);
  }
  EXPECT_EQ(ToValidUtf8("a\xff"
                        "b"),
            "a\xef\xbf\xbd"
            "b");
}

TEST(Utf8Test, PrintableHasNoControlCharacters) {
  for (const char* text :
       {"", "abc", "grizzly bär", "\xe4\xb8\xad", "\xf0\x9f\x90\xbb", "\xf4\x8f\xbf\xbf", "\xc2\xa0"})
    EXPECT_TRUE(IsPrintableUtf8(text)) << text;
  for (const char* text : {"a\n", "\x7f", "\x1b[31m", "\xc2\x85", "\xc2\x9f"})
    EXPECT_FALSE(IsPrintableUtf8(text)) << testing::PrintToString(text);
  EXPECT_FALSE(IsPrintableUtf8(std::string_view("a\0b", 3)));
}

TEST(NearestWordTest, IsWhatWasMeant) {
  const std::vector<std::string> fields = {"fine_tune", "metrics", "callbacks"};
  const std::vector<std::string> nouns = {"up", "down", "dataset", "experiment", "model", "evaluate"};
  const struct {
    std::string word;
    const std::vector<std::string>& words;
    const char* nearest;
  } cases[] = {{"fine_tuna", fields, "fine_tune"},
               {"metric", fields, "metrics"},
               {"calbaks", fields, "callbacks"},
               {"modle", nouns, "model"},  // neighbours swapped: one edit
               {"datset", nouns, "dataset"},
               {"experimnet", nouns, "experiment"},
               {"ip", nouns, "up"},
               {"schedule", fields, ""},
               {"", fields, ""},
               {"frobnicate", nouns, ""},
               {"xy", nouns, ""},
               {std::string(10'000, 'f'), fields, ""}};
  for (const auto& c : cases) EXPECT_EQ(NearestWord(c.word, c.words), c.nearest) << c.word.substr(0, 20);
}

}  // namespace
}  // namespace ursa
