package smartcartest

import (
	"net/url"
	"strconv"
)

// v3Collection is a list that v3 answers in pages.
type v3Collection struct {
	host, path string
	size       int // of a page, when the request does not say
}

// v3Page answers one page of a list, which is sorted newest first.
// page[number] and page[size] choose the page.
func v3Page[T any](c *call, of v3Collection, all []T, each func(T) object) *response {
	number, err := c.queryNumber("page[number]", 1, 1, 1<<20)
	if err != nil {
		return c.fail(err)
	}
	size, err := c.queryNumber("page[size]", of.size, 1, 100)
	if err != nil {
		return c.fail(err)
	}
	from := min((number-1)*size, len(all))
	list := []object{}
	for _, one := range all[from:min(from+size, len(all))] {
		list = append(list, each(one))
	}
	pages := max(1, (len(all)+size-1)/size)
	link := func(page int) any {
		if page < 1 || page > pages {
			return nil
		}
		q := url.Values{}
		for name, values := range c.query {
			q[name] = values
		}
		q.Set("page[number]", strconv.Itoa(page))
		q.Set("page[size]", strconv.Itoa(size))
		return c.v3Link(of.host, of.path+"?"+q.Encode())
	}
	meta := object{"pageNumber": number, "pageSize": size, "totalCount": len(all), "orderBy": "createdAt", "orderDirection": "DESC"}
	links := object{"self": link(number), "first": link(1), "last": link(pages), "next": link(number + 1), "prev": link(number - 1)}
	if c.cfg.variants.PlainPaging {
		meta = object{"page": number, "pageSize": size, "totalCount": len(all)}
		links["previous"] = links["prev"]
		delete(links, "prev")
	}
	return c.ok(object{"data": list, "meta": meta, "links": links})
}
