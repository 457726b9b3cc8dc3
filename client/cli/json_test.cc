#include "client/cli/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace ursa::cli {
namespace {

TEST(JsonTest, NumbersAreNumbers) {
  EXPECT_EQ(Json(int64_t{9223372036854775807}).Dump(), "9223372036854775807");
  EXPECT_EQ(Json(INT64_MIN).Dump(), "-9223372036854775808");
  EXPECT_EQ(Json(UINT64_MAX).Dump(), "18446744073709551615");
  EXPECT_EQ(Json(0).Dump(), "0");
  EXPECT_EQ(Json(true).Dump(), "true");
  EXPECT_EQ(Json(false).Dump(), "false");
}

TEST(JsonTest, DoublesReadBackExactly) {
  for (const double value : {0.1, 1.0 / 3, 1e-300, 1.7976931348623157e308, 5e-324, -0.0, 0.024096385542168676, 1e22}) {
    const std::string text = Json(value).Dump();
    EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
    EXPECT_LE(text.size(), 24u) << text;
  }
  EXPECT_EQ(Json(0.1).Dump(), "0.1");
}

TEST(JsonTest, WhatIsNoNumberIsNull) {
  EXPECT_EQ(Json(std::nan("")).Dump(), "null");
  EXPECT_EQ(Json(std::numeric_limits<double>::infinity()).Dump(), "null");
  EXPECT_EQ(Json().Dump(), "null");
}

TEST(JsonTest, StringsAreEscaped) {
  EXPECT_EQ(Json("a\"b\\c\n\r\t\x01\x7f").Dump(), R"("a\"b\\c\n\r\t\u0001\u007f")");
  EXPECT_EQ(Json("bär").Dump(), "\"bär\"");
  EXPECT_EQ(Json(std::string("a\0b", 3)).Dump(), R"("a\u0000b")");
  EXPECT_EQ(Json("caf\xe9").Dump(), "\"caf\xef\xbf\xbd\"");  // Latin-1 is no UTF-8
}

TEST(JsonTest, MembersKeepTheirOrderAndAreReplacedInPlace) {
  Json json = Json::Object();
  json.Set("b", 1).Set("a", Json::Array().Append("x").Append(Json())).Set("b", 2).Set("c", Json::Object());
  EXPECT_EQ(json.Dump(), R"({"b": 2, "a": ["x", null], "c": {}})");
  ASSERT_NE(json.Find("b"), nullptr);
  EXPECT_EQ(json.Find("b")->Dump(), "2");
  EXPECT_EQ(json.Find("z"), nullptr);
}

}  // namespace
}  // namespace ursa::cli
