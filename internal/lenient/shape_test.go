package lenient

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHasShape(t *testing.T) {
	for shape, bodies := range map[string]map[string]bool{
		"name":           {`{"name":1}`: true, `{"Name":null}`: true, `{"other":{"name":1}}`: false, `[]`: false, ``: false, `{"name":1`: false, `"name"`: false, `null`: false},
		"name[text]":     {`{"name":[]}`: true, ` {"NAME" : [ {}, "a" ] } `: true, `{"name":[{}]}`: false, `{"name":null}`: false, `{"name":{}}`: false, `{"other":[]}`: false, `[]`: false},
		"name[].id":      {`{"name":[]}`: true, ` {"NAME" : [ 1, {"id":null} ] } `: true, `{"name":[{"a":1},"id",[]]}`: false, `{"name":null}`: false, `{"other":[]}`: false, `[]`: false},
		"status=success": {`{"status":"success"}`: true, `{"status":"SUCCESS"}`: true, `{"status":"failure"}`: false, `{"status":null}`: false, `{"status":{"success":1}}`: false, `{}`: false},
		"data.id":        {`{"data":{"id":"x"}}`: true, `{"data":{"id":null}}`: true, `{"data":{}}`: false, `{"data":[]}`: false, `{"id":"x"}`: false, `{"data":"id"}`: false},
		"n:number":       {`{"n":1.5}`: true, `{"N":"2"}`: true, `{"n":null}`: true, `{"n":"welcome"}`: false, `{"n":{"a":1}}`: false, `{"n":[]}`: false, `{"n":true}`: false, `{"n":""}`: false, `{"m":1}`: false},
		"n:truth":        {`{"n":false}`: true, `{"n":"True"}`: true, `{"n":null}`: true, `{"n":1}`: false, `{"n":"yes"}`: false, `{"n":{}}`: false, `{}`: false},
		"n:text":         {`{"n":"a"}`: true, `{"n":""}`: true, `{"n":7}`: true, `{"n":null}`: true, `{"n":{}}`: false, `{"n":[]}`: false, `{}`: false},
		"n:object":       {`{"n":{}}`: true, `{"n":null}`: true, `{"n":[]}`: false, `{"n":"a"}`: false},
		"n:list":         {`{"n":[]}`: true, `{"n":[1,{}]}`: true, `{"n":null}`: true, `{"n":[1]}`: false, `{"n":["a"]}`: false, `{"n":{}}`: false, `{"n":"a"}`: false},
		"n:other":        {`{"n":1}`: false, `{"n":"other"}`: false},
		"o.n:number":     {`{"o":{"n":1}}`: true, `{"o":{"n":null}}`: true, `{"o":{"n":"a"}}`: false, `{"o":{}}`: false, `{"o":null}`: false, `{"n":1}`: false},
		"[]":             {` []`: true, `[{}]`: true, `{}`: false, `null`: false},
		"{}":             {`{}`: true, ` { } `: true, `{"a":1}`: false, `[]`: false},
		"-":              {``: true, ` `: true, `{}`: false, `null`: false},
		"a[text] b":      {`{"a":[]}`: true, `{"b":1}`: true, `{"a":1}`: false},
		"":               {`{}`: false, `[]`: false, ``: false},
	} {
		for body, want := range bodies {
			require.Equal(t, want, HasShape([]byte(body), shape), "%s in %s", shape, body)
		}
	}
}
